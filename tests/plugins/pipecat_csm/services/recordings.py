"""Recorded speech with a pause that anybody can see."""

from functools import cache

import numpy as np
import soundfile
import soxr

from tests.talk import DATA

RATE_HZ = 24_000

# Two recordings with a pause between two phrases, and the word that follows it.
PHRASES = [
    ("speech", "Hello there. Can you tell me what the capital of France is?", "Can"),
    ("speech_michael", "I went to the market. Then I bought some bread and apples.", "Then"),
]


@cache
def recording(name: str) -> np.ndarray:
    """One of tests/data, float32 [samples] at 24 kHz."""
    samples, rate_hz = soundfile.read(DATA / f"{name}.flac", dtype="float32")
    return soxr.resample(samples, rate_hz, RATE_HZ)


def longest_pause(audio: np.ndarray) -> tuple[float, float]:
    """Where it begins and ends, in seconds."""
    loud = np.flatnonzero(np.abs(audio) > 0.02)
    gap = int(np.argmax(np.diff(loud)))
    return loud[gap] / RATE_HZ, loud[gap + 1] / RATE_HZ
