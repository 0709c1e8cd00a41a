"""Where somebody speaks, and how quiet it is between."""

import numpy as np
import pytest
import soxr

from agent.voices.speech import SAMPLE_RATE_HZ, SpeechMap, map_speech
from tests.recordings import RATE_HZ, Sound, music, noise, silence, spoken


def listen(samples: Sound) -> SpeechMap:
    return map_speech(soxr.resample(samples, RATE_HZ, SAMPLE_RATE_HZ).astype(np.float32))


def test_speech_is_found_between_silence():
    voice = spoken()[0]
    found = listen(np.concatenate([silence(1.5), voice, silence(2.5)]))
    begin_s, end_s = found.bounds_s
    # The reference itself has 0.2 s of room.
    assert begin_s == pytest.approx(1.7, abs=0.15)
    assert end_s == pytest.approx(1.5 + len(voice) / RATE_HZ - 0.2, abs=0.2)
    assert found.share > 0.7


def test_the_recording_is_left_as_it_is():
    samples = soxr.resample(spoken()[0], RATE_HZ, SAMPLE_RATE_HZ).astype(np.float32)
    before = samples.copy()
    map_speech(samples)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("samples", [silence(3), noise(3), music(3), silence(0.01)])
def test_nobody_speaks_in_silence_noise_and_music(samples):
    found = listen(samples)
    assert found.speech_s < 0.2
    assert found.share == 0 or found.speech_s > 0
    assert len(found.voice) < 0.5 * SAMPLE_RATE_HZ


def test_the_voice_is_what_is_left_without_the_pauses():
    voice = spoken()[0]
    found = listen(np.concatenate([voice, silence(5), voice]))
    assert len(found.voice) / SAMPLE_RATE_HZ == pytest.approx(2 * len(voice) / RATE_HZ, rel=0.15)


@pytest.mark.parametrize("snr_db", [5, 15, 30])
@pytest.mark.parametrize("kind", ["noise", "music"])
def test_the_noise_behind_a_voice_is_measured(kind, snr_db):
    voice = spoken()[0]
    speaking = listen(voice)
    rms = np.sqrt(np.square(speaking.voice).mean())
    behind = noise(len(voice) / RATE_HZ) if kind == "noise" else music(len(voice) / RATE_HZ)
    behind = behind[: len(voice)] / np.sqrt(np.square(behind).mean())
    found = listen(voice + rms * 10 ** (-snr_db / 20) * behind)
    # Music swells and fades in the pauses, so that it is known less exactly.
    assert found.snr_db == pytest.approx(snr_db, abs=3 if kind == "noise" else 6)


def test_a_quiet_room_is_60_db_at_most():
    voice = spoken()[0]
    assert listen(np.concatenate([silence(1), voice, silence(1)])).snr_db == 60.0


def test_without_a_pause_the_quietest_moments_count():
    frames = 40
    samples = np.random.default_rng(0).normal(0, 0.1, frames * 512).astype(np.float32)
    samples[: 4 * 512] *= 0.1
    found = SpeechMap(samples, np.ones(frames, np.float32))
    assert found.snr_db == pytest.approx(20, abs=2)


def test_where_nobody_speaks_there_is_no_voice_to_compare_with():
    assert listen(noise(2)).snr_db == 0
