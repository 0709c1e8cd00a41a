"""The voices under test, behind one small interface, and the embedded one."""

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.embedded.kokoro import Kokoro

SAMPLE_RATE_HZ = 24_000


@dataclass(frozen=True)
class Reply:
    """What a voice made of a text.

    Attributes:
        audio: float32 [samples] at 24 kHz.
        work_s: How long that took, from the text to the last sample.
        runaway: How it ran away; None if it did not.
    """

    audio: NDArray[np.float32]
    work_s: float
    runaway: str | None = None

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.audio) / SAMPLE_RATE_HZ


class Speaker(Protocol):
    """One side of a conversation."""

    watches: bool
    """Whether it says when it has run away."""

    def hear(self, text: str, audio: NDArray[np.float32]) -> None:
        """Takes what the caller has said, float32 [samples] at 24 kHz."""
        ...

    def reply(self, text: str) -> Reply:
        """Speaks, after all that was said."""
        ...

    def close(self) -> None:
        """Ends the conversation."""
        ...


class KokoroSpeaker:
    """The embedded voice, which remembers nothing and does not run away."""

    watches = False

    def __init__(self, kokoro: Kokoro, voice: str, speed: float) -> None:
        """Speaks with a voice or a blend.

        Raises:
            KokoroError: There is no such voice.
        """
        kokoro.check_voice(voice)
        self._kokoro, self._voice, self._speed = kokoro, voice, speed

    def hear(self, text: str, audio: NDArray[np.float32]) -> None:
        """What was said does not change how it speaks."""

    def reply(self, text: str) -> Reply:
        """Speaks."""
        began_s = time.perf_counter()
        audio = self._kokoro.synthesize(text, self._voice, self._speed).audio
        return Reply(audio, time.perf_counter() - began_s)

    def close(self) -> None:
        """The model is not its own."""
