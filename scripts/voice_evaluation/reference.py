"""Whose voice it should be: a persona's recordings or one's own, and the voices it could be."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pipecat_csm import Segment

from agent.persona import Persona
from agent.reference import reference_path
from agent.voices.recording import read_recording
from agent.voices.segments import reference_segments
from scripts.voice_evaluation.errors import EvaluationError


@dataclass(frozen=True)
class Reference:
    """The voice that is wanted.

    Attributes:
        name: The persona's, or the recordings' files.
        segments: What CSM is given, as the speaker that it is to be.
        kokoro: The persona's voice where CSM is not; None without a persona.
        speed: Its pace.
        temperature: CSM's, as the persona has it; None is the checkpoint's.
        top_k: CSM's; likewise.
    """

    name: str
    segments: tuple[Segment, ...]
    kokoro: str | None = None
    speed: float = 1.0
    temperature: float | None = None
    top_k: int | None = None

    @property
    def speaker(self) -> int:
        """CSM's number for who speaks in the recordings."""
        return self.segments[0].speaker

    @property
    def audio(self) -> NDArray[np.float32]:
        """All of the recordings, float32 [samples] at 24 kHz."""
        return np.concatenate([s.audio.numpy() for s in self.segments if s.audio is not None])


def of_persona(persona: Persona) -> Reference:
    """The voice of a persona.

    Raises:
        ConfigError: A recording cannot be read.
        CSMError: It cannot be used.
        EvaluationError: The persona has none.
    """
    voice = persona.voice
    if not voice.references:
        raise EvaluationError(
            f"The persona {persona.name!r} has no recordings to be compared with; "
            "`csm-agent persona add` makes one that has, or give --reference and --reference-text."
        )
    return Reference(
        persona.name,
        tuple(reference_segments(persona)),
        voice.kokoro,
        voice.speed,
        voice.temperature,
        voice.top_k,
    )


def of_recordings(paths: Iterable[Path], segments: Iterable[Segment]) -> Reference:
    """A voice of one's own recordings."""
    return Reference(", ".join(path.name for path in paths), tuple(segments))


def recordings(persona: Persona) -> NDArray[np.float32] | None:
    """All of a persona's recordings, float32 [samples] at 24 kHz; None if it has none.

    Raises:
        ConfigError: One cannot be read.
    """
    references = persona.voice.references
    if not references:
        return None
    return np.concatenate(
        [read_recording(reference_path(persona.folder, one)).mono() for one in references]
    )
