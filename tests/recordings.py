"""Recordings that people bring, good and bad, made of the shipped personas' references."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from agent.persona import load_personas
from agent.reference import reference_path

RATE_HZ = 24_000
Sound = NDArray[np.float32]


@cache
def spoken(persona: str = "ada") -> tuple[Sound, str]:
    """A shipped persona's reference, float32 [samples] at 24 kHz, and its words."""
    found = load_personas()[persona]
    reference = found.voice.references[0]
    samples, rate_hz = soundfile.read(reference_path(found.folder, reference), dtype="float32")
    assert rate_hz == RATE_HZ
    return np.asarray(samples, np.float32), reference.text


def silence(seconds: float) -> Sound:
    """Not a sound."""
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def noise(seconds: float, level: float = 0.1) -> Sound:
    """White noise of that RMS."""
    samples = int(seconds * RATE_HZ)
    return np.random.default_rng(0).normal(0, level, samples).astype(np.float32)


def music(seconds: float) -> Sound:
    """A piano's chords, as far as sines can play them."""
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    chords = ((262, 330, 392), (294, 370, 440), (196, 247, 294), (220, 262, 330))
    bars = [
        sum(
            np.exp(-3 * time_s) * np.sin(2 * np.pi * note * overtone * time_s) / overtone
            for note in chord
            for overtone in range(1, 7)
        )
        for chord in chords
    ]
    tune = np.resize(np.concatenate(bars), int(seconds * RATE_HZ))
    return (0.5 * tune / np.abs(tune).max()).astype(np.float32)


def two_people() -> Sound:
    """Ada, then Max."""
    return np.concatenate([spoken("ada")[0][: 6 * RATE_HZ], spoken("max")[0][: 6 * RATE_HZ]])


def write(path: Path, samples: Sound, rate_hz: int = RATE_HZ, *, channels: int = 1) -> Path:
    """Writes a file of the kind that its name says, at another rate if need be."""
    at_rate = soxr.resample(samples, RATE_HZ, rate_hz)
    soundfile.write(path, np.repeat(at_rate[:, None], channels, axis=1), rate_hz)
    return path
