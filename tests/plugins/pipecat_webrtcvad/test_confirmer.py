"""Silero on demand: windows cut from chunks of any length, and no memory across a gap."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipecat.audio.vad.vad_analyzer import VADState
from pipecat_webrtcvad.confirmer import SileroConfirmer

from tests.plugins.pipecat_webrtcvad.signals import RATES_HZ, noise, silence, speech, tone

CONFIRMER = SileroConfirmer()


def scores(confirmer: SileroConfirmer, pcm: bytes, rate_hz: int) -> list[float]:
    size = 2 * rate_hz // 50
    return [
        confirmer.score(pcm[start : start + size], VADState.QUIET)
        for start in range(0, len(pcm), size)
    ]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_speech_scores_high_and_nothing_else_does(rate_hz: int):
    CONFIRMER.set_sample_rate(rate_hz)
    heard = scores(CONFIRMER, speech(rate_hz), rate_hz)
    assert sum(score > 0.7 for score in heard) > len(heard) / 2
    for signal in (silence(rate_hz, 1), noise(rate_hz, 1), tone(rate_hz, 1)):
        CONFIRMER.restart()
        # The onset of a sound out of nothing may look like speech for one window.
        assert sorted(scores(CONFIRMER, signal, rate_hz))[-4] < 0.3


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_speech_from_an_overdriven_microphone_scores_high(rate_hz: int):
    CONFIRMER.set_sample_rate(rate_hz)
    heard = scores(CONFIRMER, speech(rate_hz, gain=10), rate_hz)
    assert sum(score > 0.7 for score in heard) > len(heard) / 2


@given(cuts=st.lists(st.integers(1, 2000), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_windows_do_not_depend_on_how_the_stream_is_cut(cuts: list[int]):
    pcm = speech(16000)[: 2 * 512 * 40]
    CONFIRMER.set_sample_rate(16000)
    whole = CONFIRMER.score(pcm, VADState.QUIET)

    CONFIRMER.restart()
    before, start, last = CONFIRMER.confirmations, 0, 0.0
    for samples in [*cuts, len(pcm)]:
        chunk = pcm[start : start + 2 * samples]
        last = CONFIRMER.score(chunk, VADState.QUIET)
        start += len(chunk)
    assert CONFIRMER.confirmations - before == 40
    assert last == whole


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_one_window_is_asked_for_each_32_ms(rate_hz: int):
    CONFIRMER.set_sample_rate(rate_hz)
    before = CONFIRMER.confirmations
    scores(CONFIRMER, speech(rate_hz)[: 4 * rate_hz], rate_hz)
    # Two seconds; the resampler holds back less than a window.
    assert CONFIRMER.confirmations - before in (61, 62)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_after_a_restart_nothing_of_the_sound_before_is_left(rate_hz: int):
    CONFIRMER.set_sample_rate(rate_hz)
    fresh = scores(CONFIRMER, speech(rate_hz, gain=0.05), rate_hz)
    CONFIRMER.restart()
    scores(CONFIRMER, noise(rate_hz, 1.5) + bytes(200), rate_hz)
    carried_over = scores(CONFIRMER, speech(rate_hz, gain=0.05), rate_hz)
    CONFIRMER.restart()
    assert scores(CONFIRMER, speech(rate_hz, gain=0.05), rate_hz) == fresh
    assert carried_over != fresh


def test_no_score_before_the_first_whole_window():
    CONFIRMER.set_sample_rate(16000)
    before = CONFIRMER.confirmations
    assert CONFIRMER.score(speech(16000)[8000:9000], VADState.QUIET) == 0
    assert CONFIRMER.confirmations == before


def test_a_stale_state_is_renewed_in_quiet_and_never_within_a_turn():
    """Pipecat's analyzer renews it about every 2 s of clear non-speech."""
    after_noise = {}
    for state in (VADState.QUIET, VADState.SPEAKING):
        CONFIRMER.set_sample_rate(16000)
        CONFIRMER.score(silence(16000, 3), state)
        after_noise[state] = CONFIRMER.score(speech(16000)[:9216], state)
    assert after_noise[VADState.QUIET] != after_noise[VADState.SPEAKING]
