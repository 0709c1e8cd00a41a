"""Recorded speech and noises, and how they are compared with what was heard."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

DATA = Path(__file__).parents[2] / "data"
QUESTION = "can you tell me what the capital of france is"
MARKET = "i went to the market then i bought some bread and apples"


def load(name: str, rate_hz: int = 16_000) -> np.ndarray:
    """A recording of tests/data, float32 [samples]."""
    samples, source_hz = soundfile.read(DATA / f"{name}.flac", dtype="float32")
    return soxr.resample(samples, source_hz, rate_hz).astype(np.float32)


def bare(text: str) -> str:
    """Lower-case words without punctuation."""
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c == " ").split())


def silence(seconds: float, rate_hz: int = 16_000) -> np.ndarray:
    return np.zeros(int(seconds * rate_hz), np.float32)


def hiss(seconds: float, level: float, rate_hz: int = 16_000) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(int(seconds * rate_hz))
    return (noise * level).astype(np.float32)


def cough() -> np.ndarray:
    """Two bursts of noise that die away, in a quiet room."""
    burst = hiss(0.2, 0.4) * np.exp(-np.arange(3200) / 800)
    sound = np.concatenate([silence(0.4), burst, silence(0.15), burst, silence(0.3)])
    return (sound + hiss(len(sound) / 16_000, 0.002)[: len(sound)]).astype(np.float32)
