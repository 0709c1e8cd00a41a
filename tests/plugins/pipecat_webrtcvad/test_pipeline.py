"""The analyzers where they are used: in a pipeline, which sets their rate."""

import pytest
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import (
    InputAudioRawFrame,
    SpeechControlParamsFrame,
    VADParamsUpdateFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.tests.utils import SleepFrame, run_test
from pipecat_webrtcvad import HybridVADAnalyzer, WebRTCVADAnalyzer

from tests.plugins.pipecat_webrtcvad.signals import RATES_HZ, noise, silence, speech

EVENTS = (VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame)
PATIENT = VADParams(stop_secs=0.5, min_volume=0)


def chunks(pcm: bytes, rate_hz: int) -> list[InputAudioRawFrame]:
    size = 2 * rate_hz // 50
    return [
        InputAudioRawFrame(audio=pcm[at : at + size], sample_rate=rate_hz, num_channels=1)
        for at in range(0, len(pcm), size)
    ]


async def events(analyzer: VADAnalyzer, pcm: bytes, rate_hz: int) -> list[type]:
    down, up = await run_test(
        VADProcessor(vad_analyzer=analyzer),
        frames_to_send=chunks(pcm, rate_hz),
        pipeline_params=PipelineParams(audio_in_sample_rate=rate_hz),
    )
    found = [type(frame) for frame in down if isinstance(frame, EVENTS)]
    assert [type(frame) for frame in up if isinstance(frame, EVENTS)] == found
    return found


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("analyzer", [WebRTCVADAnalyzer, HybridVADAnalyzer])
async def test_speech_starts_and_stops_once(
    analyzer: type[WebRTCVADAnalyzer] | type[HybridVADAnalyzer], rate_hz: int
):
    pcm = silence(rate_hz, 0.5) + speech(rate_hz) + silence(rate_hz, 1)
    assert await events(analyzer(params=PATIENT), pcm, rate_hz) == list(EVENTS)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
async def test_the_hybrid_starts_no_turn_on_noise(rate_hz: int):
    assert await events(HybridVADAnalyzer(), noise(rate_hz, 3), rate_hz) == []


async def test_webrtc_alone_starts_a_turn_on_noise():
    assert await events(WebRTCVADAnalyzer(), noise(16000, 3), 16000) == [EVENTS[0]]


async def test_params_can_change_while_it_runs():
    vad = HybridVADAnalyzer()
    changed = VADParams(stop_secs=0.7, min_volume=0)
    sentence = silence(16000, 0.5) + speech(16000) + silence(16000, 1)
    down, _ = await run_test(
        VADProcessor(vad_analyzer=vad),
        # Audio overtakes the update, which is no system frame, unless it waits.
        frames_to_send=[
            VADParamsUpdateFrame(params=changed),
            SleepFrame(sleep=0.1),
            *chunks(sentence, 16000),
        ],
        pipeline_params=PipelineParams(audio_in_sample_rate=16000),
    )
    told = [f.vad_params for f in down if isinstance(f, SpeechControlParamsFrame)]
    assert told == [HybridVADAnalyzer.default_params(), changed]
    stops = [f.stop_secs for f in down if isinstance(f, VADUserStoppedSpeakingFrame)]
    assert stops == [0.7]
