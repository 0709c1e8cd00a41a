"""Levels, clipping and bandwidth, by numbers that can be reckoned."""

import numpy as np
import pytest
import soxr
from pipecat_csm.audio import LOUDNESS_DBFS, to_model_audio

from agent.voices.sound import bandwidth_hz, clipped_share, levelled, loudness_dbfs
from tests.recordings import RATE_HZ, noise, silence, spoken

SINE = np.sin(2 * np.pi * 200 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)


def test_the_loudness_is_that_of_the_voiced_parts():
    # A sine of amplitude a has an RMS of a / sqrt(2): 3 dB less.
    assert loudness_dbfs(0.1 * SINE, RATE_HZ) == pytest.approx(-23.0, abs=0.05)
    with_pauses = np.concatenate([silence(2), 0.1 * SINE, silence(2)])
    assert loudness_dbfs(with_pauses, RATE_HZ) == pytest.approx(-23.0, abs=0.05)


def test_silence_has_no_loudness():
    assert loudness_dbfs(silence(1), RATE_HZ) is None
    samples, gain_db = levelled(silence(1), RATE_HZ)
    assert gain_db == 0
    assert not samples.any()


@pytest.mark.parametrize("level", [0.2, 0.5, 1.0, 1.4])
def test_speech_is_brought_to_the_loudness_of_csms_context(level):
    samples, gain_db = levelled(level * spoken()[0], RATE_HZ)
    assert loudness_dbfs(samples, RATE_HZ) == pytest.approx(LOUDNESS_DBFS, abs=0.1)
    assert gain_db == pytest.approx(
        LOUDNESS_DBFS - (loudness_dbfs(level * spoken()[0], RATE_HZ) or 0), abs=0.1
    )


def test_the_plugin_finds_nothing_left_to_do():
    samples, _ = levelled(0.3 * spoken()[0], RATE_HZ)
    again = to_model_audio(samples, RATE_HZ).numpy()[: len(samples)]
    np.testing.assert_allclose(again, samples, atol=2e-3)


def test_levelling_never_clips():
    click = np.concatenate([0.005 * SINE, silence(1)])
    click[-10] = 0.5
    samples, _ = levelled(click, RATE_HZ)
    assert np.abs(samples).max() <= 0.99 + 1e-6


def test_clean_speech_is_not_clipped():
    for persona in ("ada", "max", "edith", "onyx"):
        samples = spoken(persona)[0]
        assert clipped_share(samples[:, None] / np.abs(samples).max()) < 1e-4


@pytest.mark.parametrize(("gain", "least"), [(2.0, 1e-3), (4.0, 1e-2)])
def test_flat_tops_are_found_even_where_they_were_made_quieter(gain, least):
    samples = spoken()[0] / np.abs(spoken()[0]).max()
    clipped = np.clip(gain * samples, -1, 1)
    assert clipped_share(clipped[:, None]) > least
    assert clipped_share(0.3 * clipped[:, None]) == pytest.approx(clipped_share(clipped[:, None]))


def test_one_clipped_channel_is_enough():
    samples = spoken()[0] / np.abs(spoken()[0]).max()
    assert clipped_share(np.stack([samples, np.clip(4 * samples, -1, 1)], axis=1)) > 1e-2


def test_the_bandwidth_survives_no_detour_over_a_telephone():
    samples = spoken()[0]
    assert bandwidth_hz(samples, RATE_HZ) > 10_000
    for rate_hz in (8_000, 11_025, 16_000):
        detour = soxr.resample(soxr.resample(samples, RATE_HZ, rate_hz), rate_hz, RATE_HZ)
        assert bandwidth_hz(detour, RATE_HZ) == pytest.approx(rate_hz / 2, rel=0.1)


def test_noise_fills_every_frequency_and_silence_none():
    assert bandwidth_hz(noise(1), RATE_HZ) == pytest.approx(12_000, rel=0.05)
    assert bandwidth_hz(silence(1), RATE_HZ) == 0
    assert bandwidth_hz(silence(0), RATE_HZ) == 0
