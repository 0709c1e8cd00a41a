"""What to measure: the command line, and the same as a value that child processes are given."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

# The step's forms by what they are expected to be worth: the first is measured in every way.
_VARIANTS = {
    "cuda": ("graph", "plain-graph", "layers", "cudagraphs", "none", "max-autotune"),
    "cpu": ("native", "none", "layers"),
}
# As `compile=` names them, and our own kernels for CPUs.
KINDS = ("native", "graph", "plain-graph", "layers", "cudagraphs", "max-autotune", "none")


@dataclass(frozen=True)
class Settings:
    """What every row is measured with.

    Attributes:
        device: A torch device's name.
        dtype: Of the weights but the codec's, which is float32.
        quantize: "int8", "int4", or None.
        tiny: The tests' shape instead of CSM-1B's.
        variants: Forms of the step; the first is measured in every way.
        contexts: Positions that are resident.
        frames: Steps that a time per frame is the median of.
        repeats: Replies that a first audio is the median of.
        session_frames: Steps of each number of sessions.
        max_sessions: No more are tried.
        reference_frames: Frames that transformers makes.
    """

    device: str
    dtype: str
    quantize: Literal["int8", "int4"] | None
    tiny: bool
    variants: tuple[str, ...]
    contexts: tuple[int, ...]
    frames: int
    repeats: int
    session_frames: int
    max_sessions: int
    reference_frames: int

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Settings":
        """From what `json` makes of one."""
        lists: dict[str, Any] = {key: tuple(data[key]) for key in ("variants", "contexts")}
        return cls(**{**data, **lists})

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU that is measured."""
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Options:
    """What the command line says besides the settings.

    Attributes:
        settings: For every row.
        reference: Whether transformers is measured too.
        budget_s: No row is begun after it, and what runs then is stopped; None is no bound.
        json: Print JSON instead of tables.
        out: A file that is written after every row.
        table: A file of an earlier run, whose tables are all that is wanted.
    """

    settings: Settings
    reference: bool
    budget_s: float | None
    json: bool
    out: Path | None
    table: Path | None


def parse_args(argv: Sequence[str] | None = None) -> Options:
    """Reads the command line; what is left out depends on the device."""
    args = _parser().parse_args(argv)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.startswith("cuda")
    few = args.tiny or not cuda

    def default(value: int | None, many: int, fewer: int) -> int:
        return (fewer if few else many) if value is None else value

    settings = Settings(
        device=device,
        dtype=args.dtype,
        quantize=args.quantize,
        tiny=args.tiny,
        variants=tuple(args.variants or _VARIANTS["cuda" if cuda else "cpu"]),
        contexts=tuple(args.contexts),
        frames=default(args.frames, 100, 12),
        repeats=default(args.repeats, 10, 3),
        session_frames=default(args.session_frames, 125, 12),
        max_sessions=default(args.max_sessions, 512, 4 if args.tiny else 32),
        reference_frames=default(args.reference_frames, 25, 5),
    )
    budget_s = None if args.budget is None else args.budget * 60
    return Options(settings, not args.no_reference, budget_s, args.json, args.out, args.table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench_csm",
        description="CSM-1B at its true shape with random weights (speed does not depend on the "
        "values): time per frame of 80 ms, first audio, sessions that keep up with real time, "
        "memory; and beside them, on the same machine, transformers' own generate and the floor "
        "that the memory's bandwidth sets. No pass mark.",
    )
    add = parser.add_argument
    add("--device", help="cuda if there is one, else cpu")
    add("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    add("--quantize", choices=("int8", "int4"), help="weights in whole numbers")
    add(
        "--variants",
        nargs="+",
        choices=KINDS,
        help="forms of the step: ways to compile it, or our own kernels for CPUs (native); the "
        "first is measured in every way, the others by the frame (default: all that there are)",
    )
    add("--contexts", type=int, nargs="+", default=[0, 500, 1500], help="positions resident")
    add("--frames", type=int, help="to take the median of (100; on a CPU 12)")
    add("--repeats", type=int, help="of a first audio (10; on a CPU 3)")
    add("--session-frames", type=int, help="of each number of sessions (125; on a CPU 12)")
    add("--max-sessions", type=int, help="try no more (512; on a CPU 32)")
    add("--reference-frames", type=int, help="that transformers makes (25; on a CPU 5)")
    add("--no-reference", action="store_true", help="without transformers")
    add(
        "--budget",
        type=float,
        metavar="MINUTES",
        help="the most important rows come first; what does not fit is left out, and named",
    )
    add("--tiny", action="store_true", help="the tests' tiny shape: a smoke run of every row")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--out", type=Path, metavar="FILE", help="write JSON there after every row")
    add("--table", type=Path, metavar="FILE", help="print the tables of what --out wrote, no more")
    return parser
