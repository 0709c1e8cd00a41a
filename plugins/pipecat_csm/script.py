"""A text as lines of speakers: "[0] Hello." starts a Segment, and lines without a tag go on."""

import re
import textwrap
from dataclasses import dataclass

from pipecat_csm.errors import TextError
from pipecat_csm.segment import MAX_SPEAKER

_TAG = re.compile(r"\s*\[(\d{1,9})\]\s*(.*)")


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
        TextError: A speaker's number is too large.
    """
    lines: list[Line] = []
    for row in textwrap.dedent(text).splitlines():
        if not row.strip():
            continue
        if tag := _TAG.match(row):
            number = int(tag[1])
            if number > MAX_SPEAKER:
                raise TextError(f"There is no speaker {number:,}; the largest is {MAX_SPEAKER:,}.")
            lines.append(Line(number, tag[2].strip()))
        elif lines:
            last = lines[-1]
            lines[-1] = Line(last.speaker, f"{last.text} {row.strip()}".strip())
        else:
            lines.append(Line(speaker, row.strip()))
    return [line for line in lines if line.text]
