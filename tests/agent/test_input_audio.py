"""The microphone's sound, whatever its shape, becomes mono at the pipeline's rate."""

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.pipeline.worker import PipelineParams
from pipecat.tests.utils import run_test

from agent.input_audio import InputAudioNormalizer


def tone(rate, channels, seconds=1.0, hz=440.0):
    t = np.arange(int(rate * seconds)) / rate
    mono = (8000 * np.sin(2 * np.pi * hz * t)).astype(np.int16)
    return np.repeat(mono[:, None], channels, axis=1)


def frames(samples, rate, ms=20):
    size = rate * ms // 1000
    return [
        InputAudioRawFrame(
            audio=samples[i : i + size].tobytes(),
            sample_rate=rate,
            num_channels=samples.shape[1],
        )
        for i in range(0, len(samples), size)
    ]


async def normalized(sent):
    down, _ = await run_test(
        InputAudioNormalizer(),
        frames_to_send=sent,
        pipeline_params=PipelineParams(audio_in_sample_rate=16_000),
    )
    return [frame for frame in down if isinstance(frame, InputAudioRawFrame)]


def dominant_hz(audio, rate):
    samples = np.frombuffer(audio, np.int16)
    return np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
async def test_any_rate_and_channel_count(rate, channels):
    heard = await normalized(frames(tone(rate, channels), rate))
    assert {(f.sample_rate, f.num_channels) for f in heard} == {(16_000, 1)}
    audio = b"".join(f.audio for f in heard)
    # The resampler holds back the last fraction of its window.
    assert 0.9 <= len(audio) / 2 / 16_000 <= 1.0
    assert dominant_hz(audio, 16_000) == pytest.approx(440, abs=3)


async def test_sound_that_is_right_already_is_not_touched():
    sent = frames(tone(16_000, 1), 16_000)
    assert [f.audio for f in await normalized(sent)] == [f.audio for f in sent]


async def test_a_microphone_that_changes_its_rate():
    sent = frames(tone(48_000, 1), 48_000) + frames(tone(44_100, 2), 44_100)
    audio = b"".join(f.audio for f in await normalized(sent))
    assert 1.8 <= len(audio) / 2 / 16_000 <= 2.0


@pytest.mark.parametrize(
    "bad",
    [
        InputAudioRawFrame(audio=b"odd", sample_rate=16_000, num_channels=1),
        InputAudioRawFrame(audio=b"\0\0" * 3, sample_rate=16_000, num_channels=2),
        InputAudioRawFrame(audio=b"\0\0", sample_rate=0, num_channels=1),
        InputAudioRawFrame(audio=b"\0" * 2_000_000, sample_rate=16_000, num_channels=1),
    ],
)
async def test_what_is_not_sound_is_dropped_and_the_rest_goes_on(bad):
    good = frames(tone(16_000, 1, seconds=0.1), 16_000)
    heard = await normalized([bad, *good])
    assert [f.audio for f in heard] == [f.audio for f in good]
