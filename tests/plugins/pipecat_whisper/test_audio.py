"""Any PCM becomes the same 16 kHz mono sound."""

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame
from pipecat_whisper.audio import Mono16k


def tone(rate_hz: int, seconds: float = 1.0, hz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(
        np.float32
    )


def frames(samples: np.ndarray, rate_hz: int) -> list[InputAudioRawFrame]:
    """float32 [samples] or [samples, channels] in frames of 20 ms."""
    pcm = (samples * 32767).astype(np.int16).reshape(len(samples), -1)
    step = rate_hz // 50
    return [
        InputAudioRawFrame(pcm[i : i + step].tobytes(), rate_hz, pcm.shape[1])
        for i in range(0, len(pcm), step)
    ]


def convert(mono: Mono16k, audio_frames: list[InputAudioRawFrame]) -> np.ndarray:
    return np.concatenate([mono.convert(frame) for frame in audio_frames])


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_stays_the_tone(rate_hz: int, channels: int):
    samples = np.repeat(tone(rate_hz)[:, None], channels, axis=1)
    mono = Mono16k()
    heard = convert(mono, frames(samples, rate_hz))
    assert heard.dtype == np.float32
    assert len(heard) / 16_000 + mono.held_back_s == pytest.approx(1.0)
    assert 0 <= mono.held_back_s < 0.13
    inner = slice(1000, len(heard) - 1000)
    np.testing.assert_allclose(heard[inner], tone(16_000)[: len(heard)][inner], atol=0.01)


def test_channels_are_averaged():
    left_only = np.stack([tone(16_000), np.zeros(16_000, np.float32)], axis=1)
    heard = convert(Mono16k(), frames(left_only, 16_000))
    np.testing.assert_allclose(heard, tone(16_000) / 2, atol=1e-3)


def test_every_frame_says_its_own_rate():
    mono = Mono16k()
    sizes = [len(convert(mono, frames(tone(hz), hz))) for hz in (8_000, 48_000, 16_000, 8_000)]
    assert all(13_900 <= size <= 16_000 for size in sizes)


def test_half_a_sample_is_dropped():
    assert len(Mono16k().convert(InputAudioRawFrame(b"\1\0\1", 16_000, 1))) == 1
    assert len(Mono16k().convert(InputAudioRawFrame(b"", 16_000, 1))) == 0
