"""A persona's recordings: where they may lie, and how much of CSM's context they may take."""

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from agent.config import ConfigError

# CSM keeps 512 positions for references: one for each 80 ms of sound and each token of text, and
# six for whatever frames a Segment. English has a little more than four letters a token, so this
# counts generously; the engine counts exactly.
MAX_POSITIONS = 512
_POSITIONS_PER_S = 12.5
_CHARS_PER_TOKEN = 4
_FRAMING = 6


class Reference(BaseModel):
    """A recording of the voice and the words that are said in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audio: str = Field(
        min_length=1, max_length=200, description="A file beside persona.yaml, FLAC or WAV."
    )
    text: str = Field(min_length=1, max_length=1000, description="Word for word what is said.")


def reference_path(folder: Path, reference: Reference) -> Path:
    """Where a recording lies.

    Raises:
        ConfigError: Outside the persona's folder, where a persona from somebody else could reach
            any file of this machine.
    """
    path = (folder / reference.audio).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ConfigError(
            f"The recording {reference.audio!r} lies outside its persona's folder {folder}; "
            "copy it there and give its name alone."
        )
    return path


def positions(seconds: float, text: str) -> int:
    """About how much of CSM's context a reference takes, rather too much than too little."""
    tokens = math.ceil(len(text) / _CHARS_PER_TOKEN)
    return math.ceil(seconds * _POSITIONS_PER_S) + tokens + _FRAMING


def check_references(folder: Path, references: Sequence[Reference], source: str) -> None:
    """Looks at the recordings' headers, which takes a millisecond each.

    Args:
        folder: The persona's.
        references: In their order.
        source: What names them, for the sentence.

    Raises:
        ConfigError: One is missing, no recording, or outside the folder; or together they are
            longer than CSM can hold.
    """
    if not references:
        return
    from agent.voices.recording import duration_s

    lengths_s: list[float] = []
    for reference in references:
        path = reference_path(folder, reference)
        if not path.is_file():
            raise ConfigError(
                f"The recording {reference.audio!r} of {source} is not there; put it into {folder} "
                "or take it out of voice.references."
            )
        lengths_s.append(duration_s(path))
    taken = sum(
        positions(seconds, reference.text)
        for seconds, reference in zip(lengths_s, references, strict=True)
    )
    if taken > MAX_POSITIONS:
        raise ConfigError(
            f"The recordings of {source} last {sum(lengths_s):.0f} s and take about {taken} of the "
            f"{MAX_POSITIONS} positions that CSM keeps for them (30 s of speech); use fewer, or "
            "shorter ones."
        )
