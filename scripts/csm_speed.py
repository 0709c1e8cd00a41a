"""How fast CSM is, at its true shape with random weights; run by bench_csm.

Speed does not depend on the weights' values. All figures are taken in one run on one machine: ours,
transformers' own `generate`, and what the memory's bandwidth would allow.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

import torch  # noqa: E402
from pipecat_csm.engine.rows import cut  # noqa: E402
from pipecat_csm.engine.runner import Runner, SamplingOptions  # noqa: E402
from pipecat_csm.model.config import CSMConfig  # noqa: E402
from pipecat_csm.model.csm import CSMModel  # noqa: E402
from pipecat_csm.model.prompt import Prompt, audio_frames  # noqa: E402
from pipecat_csm.model.quantize import quantize  # noqa: E402

FRAME_MS = 80.0
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}


@dataclass
class Row:
    """One line of the table; milliseconds, or None where it was not measured."""

    what: str
    ms: float | None
    p99_ms: float | None = None
    note: str = ""

    @property
    def rtf(self) -> float | None:
        """Generation time over audio time, of one frame."""
        return None if self.ms is None else self.ms / FRAME_MS


def main() -> int:
    """Runs the bench and prints a table, or JSON."""
    args = parse_args()
    device, dtype = torch.device(args.device), DTYPES[args.dtype]
    say(f"{machine(device)}; {args.quantize or args.dtype}; torch {torch.__version__}")
    config = CSMConfig.csm_1b()
    rows: list[Row] = []
    bandwidth = measure_bandwidth(device)
    say(f"memory reads {bandwidth / 1e9:.0f} GB/s")

    model = random_model(config, device, dtype)
    if args.quantize:
        quantize(model, args.quantize)
    size = bytes_per_frame(model)
    rows.append(
        Row("bandwidth floor, one session", size / bandwidth * 1e3, note=f"{size / 1e9:.2f} GB")
    )
    runner = Runner(model, slots=max(args.sessions))
    for context in args.contexts:
        rows.append(frame_time(runner, context, args.frames, device))
        say_row(rows[-1])
    rows += first_audio(runner, args.contexts, device)
    for sessions in args.sessions:
        if sessions > 1:
            rows.append(frame_time(runner, 500, args.frames, device, sessions))
            say_row(rows[-1])
    rows.append(Row("memory", None, note=memory(device)))
    del runner, model
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if not args.no_reference:
        rows.append(reference_time(device, dtype, args.reference_frames))
        say_row(rows[-1])
    if args.json:
        report = [{**asdict(row), "rtf": row.rtf} for row in rows]
        print(
            json.dumps(
                {"machine": machine(device), "dtype": args.quantize or args.dtype, "rows": report}
            )
        )
    else:
        print_table(rows)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_csm",
        description="CSM-1B at its true shape with random weights: time per frame (80 ms of "
        "speech), first audio, sessions at once, and beside them transformers' own generate and "
        "the floor that the memory's bandwidth sets. No pass mark.",
    )
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--quantize", choices=("int8", "int4"), help="on a CPU")
    parser.add_argument("--frames", type=int, default=100 if cuda else 12, help="to average over")
    parser.add_argument(
        "--contexts", type=int, nargs="+", default=[0, 500, 1500], help="resident positions"
    )
    parser.add_argument(
        "--sessions", type=int, nargs="+", default=[1, 8, 32, 64, 100] if cuda else [1, 2, 4]
    )
    parser.add_argument("--reference-frames", type=int, default=25 if cuda else 5)
    parser.add_argument("--no-reference", action="store_true", help="without transformers")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def random_model(config: CSMConfig, device: torch.device, dtype: torch.dtype) -> CSMModel:
    """CSM-1B's shape, with noise for weights; the codec in float32."""
    with torch.device("meta"):
        model = CSMModel(config)
    model.mimi.float()
    for name, module in model.named_children():
        module.to(torch.float32 if name == "mimi" else dtype)
    model.to_empty(device=device)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data.normal_(std=0.02)
    for name, buffer in model.named_buffers():
        if name.endswith("cluster_usage"):
            buffer.fill_(1.0)
    model.requires_grad_(False).eval().finish()
    return model


def bytes_per_frame(model: CSMModel) -> int:
    """What one frame must read at least: each weight as often as it is used."""

    def size(*modules: torch.nn.Module) -> int:
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        # What is made of a config rather than read from a file is small.
        return sum(t.numel() * t.element_size() for t in tensors)

    codebooks = model.config.codebooks
    head = size(model.depth_heads)
    once = size(model.backbone, model.codebook0_head, model.projection) + head
    decoder = size(model.mimi.decoder, model.mimi.decoder_transformer, model.mimi.upsample)
    return once + (codebooks - 1) * size(model.depth) + decoder


def frame_time(
    runner: Runner, context: int, frames: int, device: torch.device, sessions: int = 1
) -> Row:
    """The time of a step while so many sessions speak, each with so many positions resident."""
    for slot in range(runner.slots):
        runner.pause(slot)
    for slot in range(sessions):
        start(runner, slot, context, frames + 5)
    for _ in range(3):
        runner.step()
    times = list(timed(runner.step, frames, device))
    for slot in range(sessions):
        runner.pause(slot)
    label = "frame" if sessions == 1 else f"frame of each of {sessions} sessions"
    return Row(
        f"{label}, {context} positions resident",
        statistics.median(times),
        sorted(times)[min(len(times) - 1, int(len(times) * 0.99))],
    )


def first_audio(runner: Runner, contexts: list[int], device: torch.device) -> list[Row]:
    """From a text of 20 tokens to the first 80 ms, with the context resident or read anew."""
    rows = []
    text = noise_rows(runner, 20)
    for context in contexts:

        def speak(context: int = context) -> None:
            for _ in runner.prefill(0, cut(text, 0, -1), context):
                pass
            runner.begin(0, cut(text, -1), SamplingOptions(), segment=0, frames=9)
            runner.step()
            runner.pause(0)

        read(runner, 0, context)
        times = list(timed(speak, 3, device))
        rows.append(Row(f"first audio, {context} positions resident", statistics.median(times)))
        say_row(rows[-1])

    def everything() -> None:
        read(runner, 0, max(contexts))
        speak(max(contexts))

    times = list(timed(everything, 1, device))
    rows.append(Row(f"first audio, {max(contexts)} positions read anew", times[0]))
    say_row(rows[-1])
    return rows


def start(runner: Runner, slot: int, context: int, frames: int) -> None:
    """A session with a resident context that begins to speak."""
    read(runner, slot, context)
    row = noise_rows(runner, 1)
    runner.begin(slot, row, SamplingOptions(seed=slot), segment=0, frames=frames)


def read(runner: Runner, slot: int, positions: int) -> None:
    """Reads so many positions of noise."""
    for _ in runner.prefill(slot, noise_rows(runner, positions), 0):
        pass


def noise_rows(runner: Runner, count: int) -> Prompt:
    """Frames of random codes."""
    config = runner.model.config
    codes = torch.randint(1, config.codec.codebook_size, (count, config.codebooks))
    return audio_frames(config, codes, closed=False)


def timed(work: Callable[[], Any], times: int, device: torch.device) -> Iterator[float]:
    """Milliseconds of each of so many calls, the device's work included."""
    for _ in range(times):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield (time.perf_counter() - began) * 1e3


def reference_time(device: torch.device, dtype: torch.dtype, frames: int) -> Row:
    """transformers' generate, eager, without its codec."""
    from transformers import CsmConfig, CsmForConditionalGeneration

    with torch.device(device):
        torch.set_default_dtype(dtype)
        model = CsmForConditionalGeneration(CsmConfig()).eval()
        torch.set_default_dtype(torch.float32)
    ids = torch.randint(0, 1000, (1, 20), device=device)

    def generate(count: int) -> Any:
        return model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=True,
            top_k=50,
            temperature=0.9,
        )

    with torch.inference_mode():
        generate(2)
        short = next(timed(lambda: generate(2), 1, device))
        long = next(timed(lambda: generate(2 + frames), 1, device))
    return Row("transformers' generate, eager, without codec", (long - short) / frames)


def measure_bandwidth(device: torch.device) -> float:
    """Bytes per second that the device reads from its memory, at best of ten."""
    data = torch.ones(2**28, device=device)
    best = min(timed(data.sum, 10, device))
    return data.numel() * data.element_size() / best * 1e3


def memory(device: torch.device) -> str:
    """What the process holds now."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB at most on the GPU"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{peak / 1e9:.1f} GB at most"


def machine(device: torch.device) -> str:
    """The hardware that the figures belong to."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    name = platform.processor() or platform.machine()
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = f"{len(lines)} x {lines[0].split(':')[1].strip()}" if lines else name
    return f"{name}, {torch.get_num_threads()} threads"


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


def say_row(row: Row) -> None:
    """One figure as soon as it is there."""
    say(f"{row.what}: {row.ms:.1f} ms")


def print_table(rows: list[Row]) -> None:
    """The figures as a Markdown table, ready for docs/benchmarks.md."""
    print("| | ms | p99 ms | RTF | |\n|---|---|---|---|---|")
    for row in rows:
        ms, p99 = (f"{x:.1f}" if x is not None else "" for x in (row.ms, row.p99_ms))
        rtf = f"{row.rtf:.3f}" if row.rtf is not None and "first audio" not in row.what else ""
        print(f"| {row.what} | {ms} | {p99} | {rtf} | {row.note} |")


if __name__ == "__main__":
    sys.exit(main())
