"""The hybrid: speech passes, noise does not, and Silero rests while nobody speaks."""

import numpy as np
import pytest
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams, VADState
from pipecat_webrtcvad import HybridVADAnalyzer

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
PATIENT = VADParams(stop_secs=0.5, min_volume=0)


@every_rate
@every_frame
async def test_speech_starts_and_stops_where_it_does(rate_hz: int, frame_ms: int):
    sentence = speech(rate_hz)
    pcm = silence(rate_hz, 1) + sentence + silence(rate_hz, 1)
    vad = HybridVADAnalyzer(frame_ms=frame_ms, params=PATIENT)
    found = await changes(vad, pcm, rate_hz)
    assert [state for state, _ in found] == [VADState.SPEAKING, VADState.QUIET]
    start_s, stop_s = (second for _, second in found)
    end_s = 1 + duration(sentence, rate_hz)
    assert 1.2 < start_s < 1.5
    # The recording ends in about 0.1 s of room; so may the speech.
    assert end_s - 0.1 < stop_s - 0.5 + 0.1 < end_s + 0.2


@every_rate
@every_frame
async def test_silence_is_quiet_and_never_reaches_silero(rate_hz: int, frame_ms: int):
    vad = HybridVADAnalyzer(frame_ms=frame_ms)
    assert await changes(vad, silence(rate_hz, 2), rate_hz) == []
    assert vad.confirmations == 0


@every_rate
@every_frame
async def test_white_noise_and_a_tone_do_not_fool_it(rate_hz: int, frame_ms: int):
    for signal in (noise(rate_hz, 3), tone(rate_hz, 3)):
        vad = HybridVADAnalyzer(frame_ms=frame_ms)
        assert await changes(vad, signal, rate_hz) == []
        # The gate was fooled, so it was Silero that refused.
        assert vad.confirmations > 80


@every_rate
async def test_the_hiss_of_a_quiet_room_soon_stops_reaching_silero(rate_hz: int):
    vad = HybridVADAnalyzer()
    assert await changes(vad, noise(rate_hz, 10, level=0.0005), rate_hz) == []
    assert vad.confirmations < 0.1 * 10 / 0.032


@every_rate
async def test_speech_is_heard_over_steady_noise(rate_hz: int):
    noisy = np.frombuffer(noise(rate_hz, 7, level=0.05), np.int16).copy()
    sentence = np.frombuffer(speech(rate_hz), np.int16)
    noisy[-len(sentence) :] += sentence
    begins_s = (len(noisy) - len(sentence)) / rate_hz
    found = await changes(HybridVADAnalyzer(params=PATIENT), noisy.tobytes(), rate_hz)
    assert found[0][0] == VADState.SPEAKING
    assert begins_s + 0.2 < found[0][1] < begins_s + 0.6


def sentence_in_equal_noise(rate_hz: int, recording: str, gain: float = 1.0) -> bytes:
    """White noise for 7 s, and at its end a sentence that is as loud as it."""
    sentence = np.frombuffer(speech(rate_hz, recording, gain), np.int16).astype(float)
    level = float(np.sqrt(np.square(sentence).mean())) / 32768
    sound = np.frombuffer(noise(rate_hz, 7, level), np.int16).astype(float)
    sound[-len(sentence) :] += sentence
    return np.clip(sound, -32768, 32767).astype(np.int16).tobytes()


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("recording", ["speech.flac", "speech_michael.flac"])
async def test_in_loud_noise_it_hears_a_sentence_about_when_silero_does(
    rate_hz: int, recording: str
):
    pcm = sentence_in_equal_noise(rate_hz, recording)
    [(_, silero_s)] = await changes(SileroVADAnalyzer(params=PATIENT), pcm, rate_hz)
    [(_, hybrid_s)] = await changes(HybridVADAnalyzer(params=PATIENT), pcm, rate_hz)
    assert abs(hybrid_s - silero_s) < 0.05


async def test_in_soft_noise_it_may_miss_soft_speech_that_silero_hears():
    """Its known weakness: the gate takes both for the room."""
    pcm = sentence_in_equal_noise(8000, "speech.flac", gain=0.05)
    [(_, silero_s)] = await changes(SileroVADAnalyzer(params=PATIENT), pcm, 8000)
    [(_, hybrid_s)] = await changes(HybridVADAnalyzer(params=PATIENT), pcm, 8000)
    assert hybrid_s > silero_s + 0.5
    pcm = sentence_in_equal_noise(8000, "speech_michael.flac", gain=0.05)
    silero = await changes(SileroVADAnalyzer(params=PATIENT), pcm, 8000)
    hybrid = await changes(HybridVADAnalyzer(params=PATIENT), pcm, 8000)
    assert [state for state, _ in silero] == [VADState.SPEAKING]
    assert [state for state, _ in hybrid] == [
        VADState.SPEAKING,
        VADState.QUIET,
        VADState.SPEAKING,
    ]


@every_rate
async def test_a_long_tone_does_not_deafen_it_to_the_quiet_speech_after(rate_hz: int):
    """Silero's state after the tone, carried over the gap, would cost 0.7 to 1.3 s of speech."""
    before = silence(rate_hz, 1) + tone(rate_hz, 5) + silence(rate_hz, 1)
    pcm = before + speech(rate_hz, gain=0.05)
    found = await changes(HybridVADAnalyzer(params=PATIENT), pcm, rate_hz)
    assert found[0][0] == VADState.SPEAKING
    assert 7.2 < found[0][1] < 7.6


@every_rate
@pytest.mark.parametrize("recording", ["speech.flac", "speech_michael.flac"])
async def test_quiet_speech_is_heard_again_after_a_gap(rate_hz: int, recording: str):
    """The pre-roll: without it a Silero with a fresh state can miss a soft beginning."""
    sentence = speech(rate_hz, recording, gain=0.05)
    pcm = silence(rate_hz, 2) + (sentence + silence(rate_hz, 2)) * 2
    vad = HybridVADAnalyzer(params=PATIENT)
    found = await changes(vad, pcm, rate_hz)
    assert [state for state, _ in found] == 2 * [VADState.SPEAKING, VADState.QUIET]
    second_s = 2 + duration(sentence, rate_hz) + 2
    assert found[0][1] < 2.6
    assert found[2][1] < second_s + 0.6


async def test_a_pause_within_a_sentence_costs_no_second_hearing():
    """Silero hears a stretch once, whatever the gate does in between."""
    vad = HybridVADAnalyzer()
    pcm = silence(16000, 1) + speech(16000, "speech_michael.flac") + silence(16000, 1)
    await changes(vad, pcm, 16000)
    spoken_s = duration(speech(16000, "speech_michael.flac"), 16000)
    assert vad.confirmations <= (spoken_s + 0.2 + 0.3 + 0.1) / 0.032


async def test_the_hangover_keeps_silero_on_after_the_gate_has_closed():
    asked = []
    for hangover_ms in (0, 300):
        vad = HybridVADAnalyzer(hangover_ms=hangover_ms)
        await changes(vad, speech(16000) + silence(16000, 2), 16000)
        asked.append(vad.confirmations)
    assert asked[0] < asked[1] <= asked[0] + 30


@pytest.mark.parametrize(("hangover_ms", "preroll_ms"), [(-10, 200), (300, -10)])
def test_a_negative_time_is_refused(hangover_ms: int, preroll_ms: int):
    with pytest.raises(ValueError, match="take 0 ms or more"):
        HybridVADAnalyzer(hangover_ms=hangover_ms, preroll_ms=preroll_ms)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_new_stream_is_heard_as_a_first_one(rate_hz: int):
    vad = HybridVADAnalyzer()
    vad.set_sample_rate(rate_hz)
    first = confidences(vad, speech(rate_hz))
    confidences(vad, noise(rate_hz, 1))
    vad.set_sample_rate(rate_hz)
    assert confidences(vad, speech(rate_hz)) == first


def test_two_analyzers_share_no_state():
    alone, together, other = (HybridVADAnalyzer() for _ in range(3))
    for vad in (alone, together, other):
        vad.set_sample_rate(16000)
    expected = confidences(alone, speech(16000))
    sentence, hiss = speech(16000), noise(16000, 4)
    heard = []
    for start in range(0, len(sentence) - 639, 640):
        heard.append(together.voice_confidence(sentence[start : start + 640]))
        other.voice_confidence(hiss[start : start + 640])
    assert heard == expected
    assert together.confirmations == alone.confirmations
