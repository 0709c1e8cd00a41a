"""The three models that listen. All of them hear 16 kHz."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.voices.recording import SAMPLE_RATE_HZ, resampled
from scripts.voice_evaluation.likeness import Ear
from scripts.voice_evaluation.quality import Critic
from scripts.voice_evaluation.words import Listener

_LISTENING_HZ = 16_000


@dataclass(frozen=True)
class Judges:
    """Whose voice, which words, how good."""

    ear: Ear
    listener: Listener
    critic: Critic

    @classmethod
    def load(cls, whisper: str) -> "Judges":
        """Loads them, Whisper by its name or folder.

        Raises:
            ModelError: One is not here.
            WhisperEngineError: Whisper cannot be loaded.
        """
        return cls(Ear(), Listener(whisper), Critic())

    def close(self) -> None:
        """Lets them go."""
        self.listener.close()


def for_judges(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [samples] at 24 kHz, as voices speak, at the rate that judges hear."""
    return resampled(audio, SAMPLE_RATE_HZ, _LISTENING_HZ)
