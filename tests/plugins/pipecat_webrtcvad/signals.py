"""Signals at any rate, and what an analyzer makes of them."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADState

DATA = Path(__file__).parents[2] / "data"
RATES_HZ = (8000, 16000, 32000, 48000)
FRAMES_MS = (10, 20, 30)


@cache
def speech(rate_hz: int, recording: str = "speech.flac", gain: float = 1.0) -> bytes:
    """A sentence as 16-bit mono PCM."""
    samples, recorded_hz = soundfile.read(DATA / recording, dtype="float32")
    return _pcm(soxr.resample(samples, recorded_hz, rate_hz) * gain)


def silence(rate_hz: int, seconds: float) -> bytes:
    """Digital silence."""
    return bytes(2 * int(rate_hz * seconds))


@cache
def noise(rate_hz: int, seconds: float, level: float = 0.2) -> bytes:
    """White noise, the same on every call; `level` is its standard deviation of full scale."""
    return _pcm(np.random.default_rng(7).normal(0, level, int(rate_hz * seconds)))


def tone(rate_hz: int, seconds: float) -> bytes:
    """A 440 Hz tone."""
    return _pcm(0.3 * np.sin(2 * np.pi * 440 * np.arange(int(rate_hz * seconds)) / rate_hz))


def duration(pcm: bytes, rate_hz: int) -> float:
    """Length in seconds."""
    return len(pcm) / 2 / rate_hz


def frames(analyzer: VADAnalyzer, pcm: bytes) -> Iterator[bytes]:
    """The sound in pieces of the length that the analyzer asks for."""
    size = 2 * analyzer.num_frames_required()
    for start in range(0, len(pcm) - size + 1, size):
        yield pcm[start : start + size]


def confidences(analyzer: VADAnalyzer, pcm: bytes) -> list[float]:
    """The confidence after each frame."""
    return [analyzer.voice_confidence(frame) for frame in frames(analyzer, pcm)]


async def changes(
    analyzer: VADAnalyzer, pcm: bytes, rate_hz: int, chunk_ms: int = 20
) -> list[tuple[VADState, float]]:
    """Each settled change of state, with the second at which it was known."""
    analyzer.set_sample_rate(rate_hz)
    found, before = [], VADState.QUIET
    size = 2 * rate_hz * chunk_ms // 1000
    for start in range(0, len(pcm), size):
        chunk = pcm[start : start + size]
        state = await analyzer.analyze_audio(chunk)
        if state in (VADState.SPEAKING, VADState.QUIET) and state != before:
            found.append((state, duration(pcm[: start + len(chunk)], rate_hz)))
            before = state
    await analyzer.cleanup()
    return found


def _pcm(samples: np.ndarray) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
