"""What a conversation sees of the service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    MetricsFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
    TextFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData, TTFBMetricsData
from pipecat.transcriptions.language import Language
from pipecat_whisper import (
    EngineBusyError,
    NothingSaidFrame,
    Transcript,
    WhisperEngine,
    WhisperSTTService,
)
from pipecat_whisper.decoder import Decoder

from tests.plugins.pipecat_whisper.session import Session
from tests.plugins.pipecat_whisper.speech import MARKET, QUESTION, bare, cough, load, silence

Settings = WhisperSTTService.Settings
# Neither captions nor eager finals: one decode for a segment.
PLAIN = Settings(interim_interval_s=0, eager_final=False)


class Spy:
    """Notes the engine's decodes: how long the audio was, with what options, how it ended."""

    def __init__(self, engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._transcribe: Callable[..., Awaitable[Transcript]] = engine.transcribe
        self.done: list[int] = []
        self.options: list[dict[str, Any]] = []
        self.refused = 0
        monkeypatch.setattr(engine, "transcribe", self.transcribe)

    async def transcribe(self, audio: np.ndarray, **options: Any) -> Transcript:
        self.options.append(options)
        try:
            return await self._transcribe(audio, **options)
        except EngineBusyError:
            self.refused += 1
            raise
        finally:
            self.done.append(len(audio))

    @property
    def finals(self) -> int:
        return sum(options.get("priority", "final") == "final" for options in self.options)


@pytest.fixture
def spy(engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(engine, monkeypatch)


@pytest.mark.parametrize(
    ("rate_hz", "channels"),
    [(8_000, 1), (16_000, 1), (24_000, 1), (48_000, 1), (48_000, 2), (44_100, 2)],
)
async def test_a_sentence_becomes_one_finalized_transcript(
    engine: WhisperEngine, rate_hz: int, channels: int
):
    async with Session(WhisperSTTService(engine, settings=PLAIN), rate_hz) as session:
        await session.say(load("question", rate_hz), channels)
    [frame] = session.finals
    assert bare(frame.text) == QUESTION
    assert frame.finalized
    assert frame.language == Language.EN
    assert isinstance(frame.result, Transcript)


async def test_the_sound_passes_through(engine: WhisperEngine):
    async with Session(WhisperSTTService(engine, settings=PLAIN)) as session:
        await session.play(load("question"))
    sent = (load("question") * 32767).astype(np.int16).tobytes()
    assert b"".join(frame.audio for frame in session.heard(InputAudioRawFrame)) == sent


async def test_captions_grow_and_come_before_the_final(engine: WhisperEngine, spy: Spy):
    service = WhisperSTTService(engine, settings=Settings(interim_interval_s=0.01))
    sound = load("speech_michael")
    async with Session(service) as session:
        await session.send(VADUserStartedSpeakingFrame())
        for begin in range(0, len(sound), 8000):
            await session.play(sound[begin : begin + 8000])
            heard = min(begin + 8000, len(sound))
            await session.until(lambda heard=heard: max(spy.done, default=0) >= heard)
        await session.send(VADUserStoppedSpeakingFrame())
    texts = (InterimTranscriptionFrame, TranscriptionFrame)
    *interims, last = [frame for frame in session.heard(TextFrame) if isinstance(frame, texts)]
    assert isinstance(last, TranscriptionFrame)
    assert bare(last.text) == MARKET
    captions = [bare(frame.text).split() for frame in interims]
    assert len(captions) >= 2
    assert all(isinstance(frame, InterimTranscriptionFrame) for frame in interims)
    assert [len(words) for words in captions] == sorted({len(words) for words in captions})
    assert captions[0] == MARKET.split()[: len(captions[0])]


async def test_no_captions_when_they_are_off(engine: WhisperEngine, spy: Spy):
    async with Session(WhisperSTTService(engine, settings=PLAIN)) as session:
        await session.say(load("speech_michael"))
    assert not session.heard(InterimTranscriptionFrame)
    assert len(spy.done) == 1


async def test_a_busy_engine_skips_captions_but_not_the_final(
    engine: WhisperEngine, spy: Spy, monkeypatch: pytest.MonkeyPatch
):
    loop = asyncio.get_running_loop()
    began, gate = asyncio.Event(), asyncio.Event()
    decode = Decoder.decode

    def slow(self: Decoder, audio: np.ndarray, **options: Any) -> Transcript:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(60)
        return decode(self, audio, **options)

    monkeypatch.setattr(Decoder, "decode", slow)
    somebody_else = asyncio.create_task(engine.transcribe(silence(1)))
    await began.wait()
    service = WhisperSTTService(engine, settings=Settings(interim_interval_s=0.01))
    async with Session(service) as session:
        await session.send(VADUserStartedSpeakingFrame())
        await session.play(load("question"))
        await session.until(lambda: spy.refused >= 2)
        assert not session.heard(InterimTranscriptionFrame)
        await session.send(VADUserStoppedSpeakingFrame())
        gate.set()
        await session.until(lambda: session.finals)
    await somebody_else
    assert [bare(frame.text) for frame in session.finals] == [QUESTION]


async def test_a_decode_at_the_pause_is_the_final_when_nothing_more_is_said(
    engine: WhisperEngine, spy: Spy
):
    service = WhisperSTTService(engine, settings=Settings(interim_interval_s=0))
    async with Session(service) as session:
        await session.send(VADUserStartedSpeakingFrame())
        await session.play(np.concatenate([load("question"), silence(0.2)]))
        await session.until(lambda: spy.done)
        await session.send(VADUserStoppedSpeakingFrame(stop_secs=0.2))
        await session.until(lambda: session.finals)
    assert [bare(frame.text) for frame in session.finals] == [QUESTION]
    assert spy.finals == 0


async def test_a_decode_at_a_pause_is_not_the_final_when_more_is_said(
    engine: WhisperEngine, spy: Spy
):
    service = WhisperSTTService(engine, settings=Settings(interim_interval_s=0))
    async with Session(service) as session:
        await session.send(VADUserStartedSpeakingFrame())
        await session.play(np.concatenate([load("question"), silence(0.2)]))
        await session.until(lambda: spy.done)
        await session.play(load("remark"))
        await session.send(VADUserStoppedSpeakingFrame(stop_secs=0.0))
    assert "bread and apples" in bare(session.finals[-1].text)
    assert spy.finals == 1


async def test_two_conversations_never_mix(engine: WhisperEngine):
    service = WhisperSTTService(engine, settings=Settings(interim_interval_s=0.05))
    other = WhisperSTTService(engine, settings=Settings(interim_interval_s=0.05))
    async with Session(service) as ada, Session(other) as ben:
        for _ in range(2):
            await asyncio.gather(ada.say(load("question")), ben.say(load("remark")))
            await ada.until(lambda: len(ada.finals) == len(ben.finals) > 0)
    assert {bare(frame.text) for frame in ada.finals} == {QUESTION}
    assert all("bread and apples" in bare(frame.text) for frame in ben.finals)
    assert len(ada.finals) == len(ben.finals) == 2


async def test_a_cough_is_no_transcript_and_the_next_sentence_is(engine: WhisperEngine):
    async with Session(WhisperSTTService(engine)) as session:
        await session.say(cough())
        await session.say(silence(1.0))
        await session.say(load("question"))
    assert [bare(frame.text) for frame in session.finals] == [QUESTION]
    assert len(session.heard(NothingSaidFrame)) == 2
    assert not session.errors


async def test_a_noise_behind_a_sentence_is_what_is_finalized(engine: WhisperEngine):
    async with Session(WhisperSTTService(engine, settings=PLAIN)) as session:
        await session.say(load("question"))
        await session.say(silence(1.0))
    [sentence], [noise] = session.finals, session.heard(NothingSaidFrame)
    # More was on its way when the sentence was ready, though nothing came of it.
    assert [sentence.finalized, noise.finalized] == [False, True]


async def test_sentences_come_in_order_and_only_the_last_is_finalized(engine: WhisperEngine):
    async with Session(WhisperSTTService(engine, settings=PLAIN)) as session:
        await session.say(load("question"))
        await session.say(load("remark"))
    first, second = session.finals
    assert bare(first.text) == QUESTION
    assert "bread and apples" in bare(second.text)
    # More was on its way when the first was ready: a turn must not end on it.
    assert [first.finalized, second.finalized] == [False, True]


async def test_a_sentence_that_found_no_room_is_not_waited_for(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipecat_whisper.service._MAX_BEHIND", 1)
    service = WhisperSTTService(engine, settings=PLAIN)
    async with Session(service) as session:
        for _ in range(4):
            await session.say(load("question"))
    assert session.errors
    assert len(session.heard(NothingSaidFrame)) == len(session.errors)


async def test_long_speech_is_cut_and_goes_on(engine: WhisperEngine):
    settings = Settings(interim_interval_s=0, eager_final=False, max_segment_s=4)
    parts = [load("speech_michael"), silence(0.4), load("question"), silence(0.4), load("remark")]
    async with Session(WhisperSTTService(engine, settings=settings)) as session:
        await session.say(np.concatenate(parts))
    assert len(session.finals) >= 3
    text = bare(" ".join(frame.text for frame in session.finals))
    assert "bread and apples" in text
    assert "capital of france" in text
    assert text.endswith("the market")
    assert [frame.finalized for frame in session.finals][-2:] == [False, True]


async def test_a_graceful_end_transcribes_what_was_said(engine: WhisperEngine):
    async with Session(WhisperSTTService(engine, settings=PLAIN)) as session:
        await session.send(VADUserStartedSpeakingFrame())
        await session.play(load("question"))
    assert [bare(frame.text) for frame in session.finals] == [QUESTION]


async def test_nothing_is_heard_while_muted(engine: WhisperEngine):
    async with Session(WhisperSTTService(engine, settings=PLAIN)) as session:
        await session.send(STTMuteFrame(mute=True))
        await session.say(load("remark"))
        await session.send(STTMuteFrame(mute=False))
        await session.say(load("question"))
    assert [bare(frame.text) for frame in session.finals] == [QUESTION]


async def test_an_engine_error_is_reported_and_the_session_lives(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    async with Session(WhisperSTTService(engine, settings=PLAIN)) as session:
        with monkeypatch.context() as patch:
            patch.setattr(Decoder, "decode", fail)
            await session.say(load("question"))
            await session.until(lambda: session.errors)
        await session.say(load("question"))
    assert session.errors == ["Speech recognition failed: out of memory."]
    assert [frame.finalized for frame in session.heard(NothingSaidFrame)] == [True]
    assert [bare(frame.text) for frame in session.finals] == [QUESTION]


async def test_settings_change_while_it_runs(engine: WhisperEngine, spy: Spy):
    service = WhisperSTTService(engine, settings=PLAIN)
    async with Session(service) as session:
        delta = Settings(language=Language.EN_GB, initial_prompt="Bonjour.", hotwords="Paris")
        await session.send(STTUpdateSettingsFrame(delta=delta))
        await session.until(lambda: service.settings.given_fields()["hotwords"])
        await session.say(load("question"))
    assert spy.options == [{"language": "en", "prompt": "Bonjour.", "hotwords": "Paris"}]


@pytest.mark.parametrize(
    ("delta", "sentence"),
    [
        (Settings(language=Language.DE), "knows en, but not 'de'"),
        (Settings(model="large-v3"), "The model is the engine's"),
        (Settings(max_segment_s=60), "max_segment_s is from 1 to 30"),
    ],
)
async def test_a_change_that_cannot_be_is_reported_and_not_made(
    engine: WhisperEngine, delta: Settings, sentence: str
):
    service = WhisperSTTService(engine, settings=PLAIN)
    before = service.settings.given_fields()
    async with Session(service) as session:
        await session.send(STTUpdateSettingsFrame(delta=delta))
        await session.until(lambda: session.errors)
        await session.say(load("question"))
    assert sentence in session.errors[0]
    assert service.settings.given_fields() == before
    assert [bare(frame.text) for frame in session.finals] == [QUESTION]


def test_a_language_that_the_model_does_not_know_is_refused_at_once(engine: WhisperEngine):
    with pytest.raises(ValueError, match="knows en, but not 'de'"):
        WhisperSTTService(engine, settings=Settings(language="de-AT"))


async def test_metrics_tell_latency_and_usage(engine: WhisperEngine):
    service = WhisperSTTService(engine, settings=PLAIN)
    async with Session(service) as session:
        await session.say(load("question"))
        await session.until(lambda: session.finals)
    data = [item for frame in session.heard(MetricsFrame) for item in frame.data]
    [usage] = [item for item in data if isinstance(item, STTUsageMetricsData)]
    assert usage.value.audio_seconds == pytest.approx(2.76, abs=0.1)
    latencies = [item for item in data if isinstance(item, TTFBMetricsData) and item.value > 0]
    assert [item.model for item in latencies] == [engine.name]


async def test_one_piece_of_audio_may_be_transcribed_alone(engine: WhisperEngine):
    service = WhisperSTTService(engine)
    async with Session(service):
        pcm = (load("question") * 32767).astype(np.int16).tobytes()
        said = [frame async for frame in service.run_stt(pcm)]
        nothing = [frame async for frame in service.run_stt(bytes(32_000))]
    assert [bare(frame.text) for frame in said if isinstance(frame, TranscriptionFrame)] == [
        QUESTION
    ]
    assert nothing == []


async def test_cleanup_may_be_repeated(engine: WhisperEngine):
    service = WhisperSTTService(engine)
    async with Session(service) as session:
        await session.send(VADUserStartedSpeakingFrame())
    await service.cleanup()
    await service.cleanup()
