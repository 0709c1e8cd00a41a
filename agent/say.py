"""csm-agent say: CSM speaks a text or a dialogue from the command line."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pipecat_csm import Generator, Segment
    from pipecat_csm.script import Line

_END = "END"


def add_parser(commands: Any) -> None:
    """Adds the command."""
    say = commands.add_parser(
        "say",
        help="speak a text with CSM",
        description="Speaks a text with CSM-1B. The text is an argument, a file, what is piped in, "
        "or what you type, line by line until a line END. A line that begins with [0] or [1] is a "
        "new Segment of that speaker, so that a file of such lines is a dialogue.",
        epilog="Example: csm-agent say 'Nice to meet you.' --reference me.wav --reference-text "
        "'What I say in that recording.' --out hello.wav",
    )
    say.add_argument("text", nargs="?", help="what to say")
    say.add_argument("--file", type=Path, help="a file with the text")
    say.add_argument("--speaker", type=int, default=0, help="who speaks untagged text (default 0)")
    say.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="WAV",
        help="a recording of the speaker's voice; repeatable",
    )
    say.add_argument(
        "--reference-text",
        action="append",
        default=[],
        metavar="TEXT",
        help="what is said in the recording; one for each",
    )
    say.add_argument("--out", type=Path, help="WAV file to write (default speech.wav)")
    say.add_argument("--play", action="store_true", help="play it (needs sounddevice)")
    say.add_argument("--stream", action="store_true", help="say when the first audio is there")
    say.add_argument("--seed", type=int, help="the same seed says the same again")
    say.add_argument("--temperature", type=float, default=0.9, help="0 is greedy (default 0.9)")
    say.add_argument("--topk", type=int, default=50, help="codes to draw from (default 50)")
    say.add_argument("--device", help="cuda, cpu, ... (default: the GPU if there is one)")
    say.add_argument(
        "--checkpoint",
        default="sesame/csm-1b",
        help="a folder or a Hugging Face id (default sesame/csm-1b)",
    )
    say.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Speaks, and returns the exit code."""
    from pipecat_csm import CSMError

    try:
        _say(args)
    except CSMError as error:
        print(f"csm-agent: {error}", file=sys.stderr)
        return 1
    return 0


def _say(args: argparse.Namespace) -> None:
    from pipecat_csm import load_csm_1b
    from pipecat_csm.errors import TextError
    from pipecat_csm.playing import sinks
    from pipecat_csm.script import parse_script

    lines = parse_script(_text(args), speaker=args.speaker)
    if not lines:
        raise TextError("There is nothing to say.")
    context = _references(args)
    with load_csm_1b(args.device, checkpoint=args.checkpoint, progress=_loading) as generator:
        out = args.out or (None if args.play else Path("speech.wav"))
        with sinks(generator.sample_rate, out, play=args.play) as into:
            for piece in _spoken(generator, lines, context, args):
                for sink in into:
                    sink(piece)
    if out is not None:
        print(out)


def _spoken(
    generator: "Generator",
    lines: "Iterable[Line]",
    context: "list[Segment]",
    args: argparse.Namespace,
) -> "Iterator[NDArray[np.float32]]":
    """Every chunk of the dialogue, each line in the context of those before it."""
    began, first_s, samples = time.monotonic(), None, 0
    for number, line in enumerate(lines):
        spoken: list[Segment] = []
        for chunk in generator.generate_stream(
            line.text,
            line.speaker,
            context,
            temperature=args.temperature,
            topk=args.topk,
            seed=None if args.seed is None else args.seed + number,
            spoken=spoken,
        ):
            first_s = first_s if first_s is not None else time.monotonic() - began
            samples += len(chunk)
            _progress(samples / generator.sample_rate, time.monotonic() - began)
            yield chunk.numpy()
        context = [*context, *spoken]
    print(file=sys.stderr)
    if args.stream and first_s is not None:
        print(f"first audio after {first_s:.2f} s", file=sys.stderr)


def _text(args: argparse.Namespace) -> str:
    from pipecat_csm.errors import TextError

    if args.text is not None:
        return args.text
    if args.file is not None:
        try:
            return args.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TextError(f"{args.file} cannot be read: {error}.") from None
    if not sys.stdin.isatty():
        return sys.stdin.read()
    print(f"Type what to say; a line {_END} ends it.", file=sys.stderr)
    rows = []
    for row in sys.stdin:
        if row.strip() == _END:
            break
        rows.append(row)
    return "".join(rows)


def _references(args: argparse.Namespace) -> "list[Segment]":
    from pipecat_csm import Segment
    from pipecat_csm.audio import to_model_audio
    from pipecat_csm.errors import ContextError
    from pipecat_csm.text import normalise
    from pipecat_csm.wav import read_wav

    if len(args.reference) != len(args.reference_text):
        raise ContextError(
            f"There are {len(args.reference)} --reference and {len(args.reference_text)} "
            "--reference-text; each recording needs the words that are said in it."
        )
    segments = []
    for path, words in zip(args.reference, args.reference_text, strict=True):
        audio, rate = read_wav(path)
        segments.append(Segment(normalise(words), args.speaker, audio=to_model_audio(audio, rate)))
    return segments


def _loading(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        how_much = (
            f"{done / 1e9:.1f} of {total / 1e9:.1f} GB"
            if what == "loading"
            else (f"{done} of {total} steps")
        )
        print(f"\r{what.capitalize()} {how_much}", end=end, file=sys.stderr, flush=True)


def _progress(spoken_s: float, taken_s: float) -> None:
    if sys.stderr.isatty():
        rtf = taken_s / spoken_s
        print(f"\r{spoken_s:6.1f} s spoken, RTF {rtf:.2f} ", end="", file=sys.stderr, flush=True)
