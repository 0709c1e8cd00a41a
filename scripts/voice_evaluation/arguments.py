"""The command line."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from scripts.voice_evaluation.conversation import turns


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads it; argparse ends the program where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate_voice",
        description="Has a voice hold a conversation, and measures every reply: how like the "
        "reference it is (Resemblyzer), and whether it is the nearest voice of all personas'; how "
        "many words are misheard (Whisper); how good it sounds (DistillMOS); whether CSM ran away; "
        "how fast it was. The caller is another voice, so that CSM's context is a true dialogue. "
        "No pass mark: compare figures of one and the same run.",
        epilog="Example: scripts/evaluate_voice --checkpoint sesame/csm-1b --persona ada",
    )
    _add_voice(parser)
    _add_reference(parser)
    _add_csm(parser)
    add = parser.add_argument
    add("--turns", type=_turns, default=len(turns()), metavar="N", help="only the first N turns")
    add("--whisper", default="tiny.en", metavar="MODEL", help="that listens (default tiny.en)")
    add(
        "--caller",
        metavar="PERSONA",
        help="whose Kokoro voice asks (default: the persona least like the reference)",
    )
    add("--keep", type=Path, metavar="DIR", help="write every turn there, as WAV files")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--out", type=Path, metavar="FILE", help="write the JSON there, too")
    parser.set_defaults(speaker=0)  # of recordings without a persona
    return parser.parse_args(argv)


def _add_voice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the voice that speaks")
    voice = group.add_mutually_exclusive_group(required=True)
    voice.add_argument("--checkpoint", help="CSM: a folder, a Hugging Face id, or csm-mini")
    voice.add_argument(
        "--voice",
        metavar="KOKORO",
        help="the embedded voice: kokoro for the persona's own, or one by name, such as af_heart, "
        "or a blend, such as af_heart:70,bm_george:30",
    )


def _add_reference(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the voice that it should be")
    whose = group.add_mutually_exclusive_group()
    whose.add_argument("--persona", help="whose recordings (default ada)")
    whose.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="WAV",
        help="a recording of the voice, best of 5 to 20 s; repeatable",
    )
    group.add_argument(
        "--reference-text",
        action="append",
        default=[],
        metavar="TEXT",
        help="what is said in the recording, one for each",
    )


def _add_csm(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("CSM, as for csm-agent say")
    group.add_argument("--seed", type=int, default=0, help="the same says the same (default 0)")
    group.add_argument(
        "--temperature",
        type=float,
        help="0 is greedy (default: the persona's, or the checkpoint's)",
    )
    group.add_argument("--topk", type=int, help="codes to draw from (default: the persona's)")
    group.add_argument("--device", help="cuda, cpu, ... (default: the GPU if there is one)")
    precision = group.add_mutually_exclusive_group()
    precision.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the weights (default: bfloat16 on CUDA, else float32)",
    )
    precision.add_argument("--quantize", choices=("int8", "int4"), help="weights in fewer bytes")
    group.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the model first (default: where that is worth it)",
    )


def _turns(text: str) -> int:
    most = len(turns())
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"the conversation has 1 to {most} turns, not {text!r}")
    return int(text)
