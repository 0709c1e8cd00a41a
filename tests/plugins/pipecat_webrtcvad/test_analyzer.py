"""The WebRTC VAD alone: what it hears at every rate, and by what it is fooled."""

import pytest
from pipecat.audio.vad.vad_analyzer import VADParams, VADState
from pipecat_webrtcvad import WebRTCVADAnalyzer

from tests.plugins.pipecat_webrtcvad.signals import (
    FRAMES_MS,
    RATES_HZ,
    changes,
    confidences,
    duration,
    noise,
    silence,
    speech,
    tone,
)

every_rate = pytest.mark.parametrize("rate_hz", RATES_HZ)
every_frame = pytest.mark.parametrize("frame_ms", FRAMES_MS)


@every_rate
@every_frame
async def test_speech_starts_and_stops_where_it_does(rate_hz: int, frame_ms: int):
    sentence = speech(rate_hz)
    pcm = silence(rate_hz, 1) + sentence + silence(rate_hz, 1)
    vad = WebRTCVADAnalyzer(frame_ms=frame_ms, params=VADParams(stop_secs=0.5, min_volume=0))
    found = await changes(vad, pcm, rate_hz)
    assert [state for state, _ in found] == [VADState.SPEAKING, VADState.QUIET]
    start_s, stop_s = (second for _, second in found)
    end_s = 1 + duration(sentence, rate_hz)
    assert 1.2 < start_s < 1.5
    assert end_s < stop_s < end_s + 0.7


@every_rate
@every_frame
async def test_silence_is_quiet(rate_hz: int, frame_ms: int):
    assert await changes(WebRTCVADAnalyzer(frame_ms=frame_ms), silence(rate_hz, 2), rate_hz) == []


@every_rate
@every_frame
async def test_white_noise_and_a_tone_fool_it(rate_hz: int, frame_ms: int):
    """Its known weakness, and the reason for the hybrid."""
    for signal in (noise(rate_hz, 2), tone(rate_hz, 2)):
        found = await changes(WebRTCVADAnalyzer(frame_ms=frame_ms), signal, rate_hz)
        assert [state for state, _ in found] == [VADState.SPEAKING]


def test_confidence_is_the_share_of_voiced_frames_in_the_window():
    vad = WebRTCVADAnalyzer(window=4)
    vad.set_sample_rate(16000)
    assert confidences(vad, noise(16000, 0.1)) == [0.25, 0.5, 0.75, 1, 1]
    assert confidences(vad, silence(16000, 1))[-1] == 0


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_without_frames_is_refused(window: int):
    with pytest.raises(ValueError, match=f"takes 1 frame or more, not {window}"):
        WebRTCVADAnalyzer(window=window)


@pytest.mark.parametrize("renew", ["params", "rate"])
def test_new_params_or_a_new_rate_clear_the_votes(renew: str):
    vad = WebRTCVADAnalyzer(window=5)
    vad.set_sample_rate(16000)
    assert confidences(vad, noise(16000, 0.5))[-1] == 1
    if renew == "params":
        vad.set_params(VADParams())
    else:
        vad.set_sample_rate(8000)
    assert confidences(vad, noise(vad.sample_rate, 0.02)) == [0.2]


def test_a_stricter_mode_passes_less():
    shares = []
    for mode in (0, 3):
        vad = WebRTCVADAnalyzer(mode=mode, window=1)
        vad.set_sample_rate(16000)
        shares.append(sum(confidences(vad, speech(16000, gain=0.05))))
    assert shares[0] > shares[1] > 0


def test_two_analyzers_share_no_state():
    alone, together, other = (WebRTCVADAnalyzer() for _ in range(3))
    for vad in (alone, together, other):
        vad.set_sample_rate(16000)
    expected = confidences(alone, speech(16000))
    sentence, hiss = speech(16000), noise(16000, 4)
    heard = []
    for start in range(0, len(sentence) - 639, 640):
        heard.append(together.voice_confidence(sentence[start : start + 640]))
        other.voice_confidence(hiss[start : start + 640])
    assert heard == expected


@pytest.mark.parametrize("chunk_ms", [5, 20, 37, 100])
async def test_chunks_of_any_length_find_the_same_speech(chunk_ms: int):
    pcm = silence(16000, 1) + speech(16000) + silence(16000, 1)
    params = VADParams(stop_secs=0.5, min_volume=0)
    found = await changes(WebRTCVADAnalyzer(params=params), pcm, 16000, chunk_ms)
    assert [state for state, _ in found] == [VADState.SPEAKING, VADState.QUIET]
