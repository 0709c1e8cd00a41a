"""A text as lines of speakers: "[0] Hello." starts a Segment, and lines without a tag go on."""

import re
import textwrap
from dataclasses import dataclass

from pipecat_csm.errors import TextError
from pipecat_csm.segment import MAX_SPEAKER

_TAG = re.compile(r"\s*\[(-?\d+)\]\s*(.*)")


@dataclass(frozen=True)
class Line:
    """What one speaker says in one go."""

    speaker: int
    text: str


def parse_script(text: str, *, speaker: int = 0) -> list[Line]:
    """Reads a dialogue, or a plain text.

    Args:
        text: Lines. Their common indentation does not count, and empty ones neither. A line that
            begins with a number in brackets starts a new Segment of that speaker; consecutive lines
            without one belong together.
        speaker: Who says what comes before the first tag.

    Raises:
        TextError: There is no speaker of that number.
    """
    lines: list[Line] = []
    # Windows' editors begin a file with a mark of its encoding.
    for row in textwrap.dedent(text.removeprefix("\ufeff")).splitlines():
        if not row.strip():
            continue
        if tag := _TAG.match(row):
            lines.append(Line(_speaker(tag[1]), tag[2].strip()))
        elif lines:
            last = lines[-1]
            lines[-1] = Line(last.speaker, f"{last.text} {row.strip()}".strip())
        else:
            lines.append(Line(speaker, row.strip()))
    return [line for line in lines if line.text]


def _speaker(tag: str) -> int:
    digits = tag.lstrip("0") or "0"
    # By its length first: Python reads no number of thousands of digits.
    if len(digits) > len(str(MAX_SPEAKER)) or not 0 <= int(digits) <= MAX_SPEAKER:
        raise TextError(
            f"There is no speaker {digits[:12]}; they are numbered from 0 to {MAX_SPEAKER:,}."
        )
    return int(digits)
