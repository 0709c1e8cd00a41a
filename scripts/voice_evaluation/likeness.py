"""Whose voice is it? The cosine of speaker embeddings, Resemblyzer's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.models import resolve
from agent.voices.encoder import SpeakerEncoder
from agent.voices.speakers import voice_of
from agent.voices.speech import map_speech

Voice = NDArray[np.float32]

# Nobody says the same thing twice so alike: it is the same recording under another name.
_SAME_RECORDING = 0.98


class Ear:
    """Knows voices apart."""

    def __init__(self) -> None:
        """Loads the encoder.

        Raises:
            ModelError: It is not here.
        """
        self._encoder = SpeakerEncoder(resolve("resemblyzer", "speaker"))

    def voice(self, audio: NDArray[np.float32]) -> Voice | None:
        """The mean voice of float32 [samples] at 16 kHz, of length 1, pauses left out.

        None where there is no sound at all. Where Silero hears no speech, all of it counts: such a
        reply is to be far from every voice, not to go without a figure.
        """
        if not np.any(audio):
            return None
        speech = map_speech(audio).voice
        return voice_of(self._encoder.embed(speech if len(speech) else audio))


@dataclass(frozen=True)
class Likeness:
    """How alike a reply is to some voices, as cosines.

    Attributes:
        reference: To that which it should be.
        other: To the nearest of the others.
        name: That other's.
    """

    reference: float
    other: float
    name: str

    @property
    def is_right(self) -> bool:
        """Whether the reference is nearer than every other voice."""
        return self.reference > self.other


class Choir:
    """The voice that is wanted among others."""

    def __init__(self, reference: Voice, others: Mapping[str, Voice]) -> None:
        """Takes voices by name; another name for the reference's own recording is left out."""
        self.reference = reference
        self.others = {
            name: voice
            for name, voice in others.items()
            if float(voice @ reference) < _SAME_RECORDING
        }

    def likeness(self, voice: Voice) -> Likeness:
        """How alike a voice is to these; there must be another one."""
        alike = {name: float(voice @ other) for name, other in self.others.items()}
        nearest = max(alike, key=alike.__getitem__)
        return Likeness(float(voice @ self.reference), alike[nearest], nearest)

    @property
    def farthest(self) -> str:
        """The name of the voice least like the reference."""
        return min(self.others, key=lambda name: float(self.others[name] @ self.reference))


def mean_voice(voices: Sequence[Voice]) -> Voice | None:
    """The voice of several replies; None of none."""
    return voice_of(np.stack(voices)) if voices else None
