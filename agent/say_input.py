"""What csm-agent say is given: the lines, and the recordings of the voices. Checked before anything
large is loaded."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipecat_csm import Segment
    from pipecat_csm.script import Line

_END = "END"
# Quieter than this there is no voice in a recording, only its noise.
_SILENT_PEAK = 1e-3


def read_lines(args: argparse.Namespace) -> "list[Line]":
    """What to say and who says it, in plain characters; at least one line.

    Raises:
        TextError: It cannot be read, or a line cannot be spoken.
    """
    from pipecat_csm.errors import TextError
    from pipecat_csm.script import Line, parse_script
    from pipecat_csm.text import normalise

    lines = parse_script(_text(args), speaker=args.speaker)
    if not lines:
        raise TextError("There is nothing to say.")
    spoken = []
    for line in lines:
        try:
            spoken.append(Line(line.speaker, normalise(line.text)))
        except TextError as error:
            where = "" if len(lines) == 1 else f"In {line.text[:30]!r}: "
            raise TextError(f"{where}{error}") from None
    return spoken


def read_references(args: argparse.Namespace) -> "list[Segment]":
    """The recordings with their words.

    Raises:
        CSMError: A recording or its words are missing, cannot be used, or are too long.
    """
    from pipecat_csm import Segment
    from pipecat_csm.audio import FRAME_SAMPLES, to_model_audio
    from pipecat_csm.engine.window import Limits, check_references
    from pipecat_csm.errors import AudioError, ContextError
    from pipecat_csm.wav import read_wav

    if len(args.reference) != len(args.reference_text):
        raise ContextError(
            f"There are {len(args.reference)} --reference and {len(args.reference_text)} "
            "--reference-text; each recording needs the words that are said in it."
        )
    segments, frames = [], 0
    for path, words in zip(args.reference, args.reference_text, strict=True):
        line = _words(path, words, args.speaker)
        samples, rate_hz = read_wav(path)
        try:
            audio = to_model_audio(samples, rate_hz)
        except AudioError as error:
            raise AudioError(f"{path} cannot be a reference: {error}") from None
        if float(audio.abs().max()) < _SILENT_PEAK:
            raise AudioError(f"{path} cannot be a reference: it is silent.")
        segments.append(Segment(line.text, line.speaker, audio=audio))
        frames += len(audio) // FRAME_SAMPLES
    check_references(frames, Limits())
    return segments


def _words(path: Path, words: str, speaker: int) -> "Line":
    from pipecat_csm.errors import TextError
    from pipecat_csm.script import Line, parse_script
    from pipecat_csm.text import normalise

    try:
        lines = parse_script(words, speaker=speaker)
        if len(lines) != 1:
            raise TextError("they are those of one speaker.")
        return Line(lines[0].speaker, normalise(lines[0].text))
    except TextError as error:
        raise TextError(f"The words of {path} cannot be used: {error}") from None


def _text(args: argparse.Namespace) -> str:
    from pipecat_csm.errors import TextError

    if args.text is not None:
        return args.text
    try:
        if args.file is None or str(args.file) == "-":
            return _piped_or_typed()
        return args.file.read_text(encoding="utf-8")
    except OSError as error:
        raise TextError(f"{args.file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise TextError(f"{args.file or 'What is piped in'} is not text in UTF-8.") from None


def _piped_or_typed() -> str:
    if sys.stdin is None:  # closed by who started us
        return ""
    if not sys.stdin.isatty():
        return sys.stdin.read()
    print(f"Type what to say; a line {_END} ends it.", file=sys.stderr)
    rows = []
    for row in sys.stdin:
        if row.strip() == _END:
            break
        rows.append(row)
    return "".join(rows)
