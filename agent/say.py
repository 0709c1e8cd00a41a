"""csm-agent say: CSM speaks a text or a dialogue from the command line."""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.say_input import read_lines, read_references
from agent.say_progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pipecat_csm import Generator, Segment
    from pipecat_csm.script import Line


def add_parser(commands: Any) -> None:
    """Adds the command."""
    say = commands.add_parser(
        "say",
        help="speak a text with CSM",
        description="Speaks a text with CSM-1B. The text is an argument, a file, what is piped in, "
        "or what you type, line by line until a line END. A line that begins with [0] or [1] is a "
        "new Segment of that speaker, so that a file of such lines is a dialogue. Ctrl-C stops; "
        "the file keeps what was spoken until then.",
        epilog="Example: csm-agent say 'Nice to meet you.' --reference me.wav --reference-text "
        "'What I say in that recording.' --out hello.wav",
    )
    text = say.add_mutually_exclusive_group()
    text.add_argument("text", nargs="?", help="what to say")
    text.add_argument("--file", type=Path, help="a file with the text; - is what is piped in")
    say.add_argument(
        "--speaker", type=_speaker, default=0, help="who speaks untagged text (default 0)"
    )
    say.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="WAV",
        help="a recording of the speaker's voice, best of 5 to 20 s; repeatable",
    )
    say.add_argument(
        "--reference-text",
        action="append",
        default=[],
        metavar="TEXT",
        help="what is said in the recording, one for each; '[1] ...' if it is speaker 1",
    )
    say.add_argument(
        "--out",
        type=Path,
        help="WAV file to write, even over an older one (default speech.wav); - is the standard "
        "output, as for: --out - | aplay",
    )
    say.add_argument("--play", action="store_true", help="play it (needs sounddevice)")
    say.add_argument("--stream", action="store_true", help="say when the first audio is there")
    say.add_argument(
        "--watermark",
        action="store_true",
        help="mark the file as synthetic, for programs to find (needs csm-agent[watermark]); what "
        "--play plays carries no mark",
    )
    say.add_argument("--seed", type=int, help="the same seed says the same again")
    say.add_argument(
        "--temperature",
        type=_temperature,
        help="0 is greedy (default: the checkpoint's, 0.9 for CSM-1B)",
    )
    say.add_argument(
        "--topk", type=_topk, help="codes to draw from (default: the checkpoint's, 50)"
    )
    say.add_argument("--device", help="cuda, cpu, ... (default: the GPU if there is one)")
    precision = say.add_mutually_exclusive_group()
    precision.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the weights (default: bfloat16 on CUDA, else float32)",
    )
    precision.add_argument(
        "--quantize", choices=("int8", "int4"), help="weights in fewer bytes, which is faster"
    )
    say.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compile the model first: minutes the first time and less later, for a multiple of "
        "the speed on a GPU; worth it for long texts",
    )
    say.add_argument(
        "--checkpoint",
        default="sesame/csm-1b",
        help="a folder, a Hugging Face id, or csm-mini, a small one that comes with the program "
        "(default sesame/csm-1b)",
    )
    say.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Speaks, and returns the exit code."""
    from pipecat_csm import CSMError

    out = args.out or (None if args.play else Path("speech.wav"))
    progress = Progress(sys.stderr)
    with progress.with_warnings():
        try:
            _say(args, out, progress)
        except (CSMError, KeyboardInterrupt) as error:
            progress.end()
            stopped = isinstance(error, KeyboardInterrupt)
            print(f"csm-agent: {'Stopped.' if stopped else error}", file=sys.stderr)
            if progress.spoken_s and out is not None and str(out) != "-":
                print(f"{out} holds the first {progress.spoken_s:.1f} s.", file=sys.stderr)
            return 130 if stopped else 1
    if out is not None and str(out) != "-":
        print(out)
    return 0


def _say(args: argparse.Namespace, out: Path | None, progress: Progress) -> None:
    # The text last: somebody may have to type it.
    references = read_references(args)
    _check_out(args, out)
    lines = read_lines(args)

    import torch
    from pipecat_csm import CSMError, load_csm_1b
    from pipecat_csm.audio import SAMPLE_RATE_HZ
    from pipecat_csm.playing import sinks
    from pipecat_csm.text import CHARS_PER_S, spoken_chars

    with (
        sinks(SAMPLE_RATE_HZ, out, play=args.play, mark=args.watermark) as into,
        load_csm_1b(
            args.device,
            checkpoint=args.checkpoint,
            dtype=getattr(torch, args.dtype) if args.dtype else None,
            quantize=args.quantize,
            compile=args.compile,
            progress=progress.loading,
        ) as generator,
    ):
        expected_s = sum(spoken_chars(line.text) for line in lines) / CHARS_PER_S
        progress.begin(expected_s, played=args.play)
        for chunk in _spoken(generator, lines, references, args):
            for sink in into:
                sink(chunk)
            progress.spoke(len(chunk) / SAMPLE_RATE_HZ)
    progress.end()
    if progress.first_s is None:
        raise CSMError("CSM ended before it made a sound; try another --seed.")
    if args.stream:
        rtf = "" if progress.rtf is None else f", RTF {progress.rtf:.2f}"
        print(f"first audio after {progress.first_s:.2f} s{rtf}", file=sys.stderr)


def _spoken(
    generator: "Generator",
    lines: "list[Line]",
    references: "list[Segment]",
    args: argparse.Namespace,
) -> "Iterator[NDArray[np.float32]]":
    """Every chunk of the dialogue, each line in the context of those before it."""
    said: list[Segment] = []
    for number, line in enumerate(lines):
        for chunk in generator.generate_stream(
            line.text,
            line.speaker,
            list(said),
            max_audio_length_ms=math.inf,
            temperature=args.temperature,
            topk=args.topk,
            references=references,
            seed=None if args.seed is None else args.seed + number,
            spoken=said,
        ):
            yield chunk.numpy()


def _check_out(args: argparse.Namespace, out: Path | None) -> None:
    from pipecat_csm.errors import AudioError, WatermarkError

    if out is None:
        if args.watermark:
            raise WatermarkError("--watermark marks a file, and none is written: add --out.")
        return
    if str(out) == "-" and sys.stdout.isatty():
        raise AudioError("A terminal shows no sound: pipe it on, as with --out - | aplay.")
    for given in (*args.reference, *([args.file] if args.file else [])):
        if out.exists() and given.exists() and out.samefile(given):
            raise AudioError(f"{out} is what is read here; have the speech written elsewhere.")


def _speaker(text: str) -> int:
    from pipecat_csm.segment import MAX_SPEAKER

    return int(_number(text, int, MAX_SPEAKER))


def _topk(text: str) -> int:
    return int(_number(text, int, 1_000_000))


def _temperature(text: str) -> float:
    return _number(text, float, 1_000)


def _number(text: str, kind: type[int] | type[float], most: int) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {most:,}")
    return number
