"""Which rates and frames are legal, and how the others are refused."""

import pytest
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat_webrtcvad import HybridVADAnalyzer, WebRTCVADAnalyzer

from tests.plugins.pipecat_webrtcvad.signals import FRAMES_MS, RATES_HZ, changes, speech

Analyzer = type[WebRTCVADAnalyzer] | type[HybridVADAnalyzer]
both = pytest.mark.parametrize("analyzer", [WebRTCVADAnalyzer, HybridVADAnalyzer])


@both
@pytest.mark.parametrize("rate_hz", [0, -16000, 11025, 22050, 24000, 44100, 96000])
def test_illegal_rate_is_refused_in_the_constructor_and_from_the_pipeline(
    analyzer: Analyzer, rate_hz: int
):
    refusal = f"sample rate of 8000, 16000, 32000 or 48000 Hz, not {rate_hz} Hz"
    with pytest.raises(ValueError, match=refusal):
        analyzer(sample_rate=rate_hz)
    with pytest.raises(ValueError, match=refusal):
        analyzer().set_sample_rate(rate_hz)


@both
@pytest.mark.parametrize("frame_ms", [0, -10, 15, 40])
def test_illegal_frame_length_is_refused(analyzer: Analyzer, frame_ms: int):
    with pytest.raises(ValueError, match=f"frame length of 10, 20 or 30 ms, not {frame_ms} ms"):
        analyzer(frame_ms=frame_ms)


@both
@pytest.mark.parametrize("mode", [-1, 4])
def test_illegal_mode_is_refused(analyzer: Analyzer, mode: int):
    with pytest.raises(ValueError, match=f"mode of 0, 1, 2 or 3, not {mode}"):
        analyzer(mode=mode)


@both
def test_a_buffer_that_is_not_one_frame_is_refused(analyzer: Analyzer):
    vad = analyzer(frame_ms=20)
    vad.set_sample_rate(16000)
    with pytest.raises(ValueError, match="100 bytes; give one frame of 20 ms, which is 640 bytes"):
        vad.voice_confidence(bytes(100))


@both
@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("frame_ms", FRAMES_MS)
def test_a_frame_is_as_long_as_asked(analyzer: Analyzer, rate_hz: int, frame_ms: int):
    vad = analyzer(frame_ms=frame_ms)
    vad.set_sample_rate(rate_hz)
    assert vad.num_frames_required() == rate_hz * frame_ms / 1000


@both
@pytest.mark.parametrize("pipeline_hz", [16000, 24000])
def test_a_rate_given_to_the_constructor_wins_over_the_pipelines(
    analyzer: Analyzer, pipeline_hz: int
):
    vad = analyzer(sample_rate=8000)
    vad.set_sample_rate(pipeline_hz)
    assert vad.sample_rate == 8000
    assert vad.num_frames_required() == 160


@both
@pytest.mark.parametrize(
    ("gain", "min_volume", "heard"), [(0.05, 0.0, True), (0.05, 0.7, False), (1.0, 0.7, True)]
)
async def test_quiet_speech_is_heard_unless_the_caller_sets_a_loudness_gate(
    analyzer: Analyzer, gain: float, min_volume: float, heard: bool
):
    vad = analyzer(params=VADParams(min_volume=min_volume))
    assert bool(await changes(vad, speech(16000, gain=gain), 16000)) is heard


@both
async def test_speech_in_the_first_half_second_of_a_stream_is_heard(analyzer: Analyzer):
    assert await changes(analyzer(), speech(16000)[: 2 * 8000], 16000) != []
