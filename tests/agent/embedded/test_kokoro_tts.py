"""The voice in a pipeline: sound and captions agree, and the conversation keeps what was heard."""

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData, TTSUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from agent.embedded import kokoro_tts
from agent.embedded.kokoro import Kokoro
from agent.embedded.kokoro_model import KokoroError
from agent.embedded.kokoro_tts import KokoroTTSService, Reply
from tests.hearing import hear, word_errors, words

REPLY = (
    "Sure, I can help with that. The old bridge was closed all winter, so everyone walked along "
    "the river, and nobody ever complained about the cold."
)
VOICE = KokoroTTSService.Settings(voice="am_michael")


def reply_frames(text: str) -> list[Frame]:
    """An answer as a language model streams it."""
    tokens = [LLMTextFrame(token) for token in text.replace(" ", "| ").split("|")]
    return [LLMFullResponseStartFrame(), *tokens, LLMFullResponseEndFrame()]


async def spoken(
    service: KokoroTTSService, frames: Sequence[Frame], rate_hz: int = 24_000
) -> tuple[Sequence[Frame], Sequence[Frame]]:
    params = PipelineParams(
        audio_out_sample_rate=rate_hz, enable_metrics=True, enable_usage_metrics=True
    )
    return await run_test(service, frames_to_send=frames, pipeline_params=params)


def sound(frames: Sequence[Frame]) -> np.ndarray:
    pcm = b"".join(frame.audio for frame in frames if isinstance(frame, OutputAudioRawFrame))
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def captions(frames: Sequence[Frame]) -> list[str]:
    return [frame.text for frame in frames if isinstance(frame, TTSTextFrame)]


class Speaker(BaseOutputTransport):
    """A loudspeaker: takes audio no faster than it plays."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_end_silence_secs=0))
        self.played = bytearray()
        self.seconds = asyncio.Condition()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        await asyncio.sleep(len(frame.audio) / 2 / frame.sample_rate)
        self.played += frame.audio
        async with self.seconds:
            self.seconds.notify_all()
        return True

    async def wait_for(self, seconds: float) -> None:
        async with self.seconds:
            await self.seconds.wait_for(lambda: len(self.played) / 48_000 >= seconds)


async def conversation(
    service: KokoroTTSService, frames: list[Frame], barge_in_s: float | None
) -> tuple[np.ndarray, list[str]]:
    """Play a reply to its end, or to a barge-in; gives what was played and what was kept."""
    speaker, context = Speaker(), LLMContext()
    aggregators = LLMContextAggregatorPair(context)
    worker = PipelineWorker(
        Pipeline([service, speaker, aggregators.assistant()]), cancel_on_idle_timeout=False
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await worker.queue_frames(frames)
    if barge_in_s is not None:
        await speaker.wait_for(barge_in_s)
        await worker.queue_frame(InterruptionFrame())
        # The InterruptionFrame must have come through before the EndFrame follows it.
        await asyncio.sleep(0.3)
    await worker.queue_frame(EndFrame())
    await running
    messages = [message for message in context.get_messages() if isinstance(message, dict)]
    kept = [str(message.get("content")) for message in messages]
    return np.frombuffer(bytes(speaker.played), "<i2").astype(np.float32) / 32768, kept


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
async def test_it_speaks_at_the_pipelines_rate(kokoro: Kokoro, rate_hz: int):
    text = "Everyone walked along the river."
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    down, _ = await spoken(service, [TTSSpeakFrame(text)], rate_hz)
    audio = [frame for frame in down if isinstance(frame, TTSAudioRawFrame)]
    assert {frame.sample_rate for frame in audio} == {rate_hz}
    assert max(len(frame.audio) for frame in audio) <= 2 * 0.08 * rate_hz
    assert word_errors(hear(sound(down), rate_hz), text) <= 0.2


async def test_the_captions_are_the_words_of_the_text(kokoro: Kokoro):
    text = "Well — it's “fine”, 😀 isn't it? Yes... of course it is, and always was! 😀"
    down, up = await spoken(KokoroTTSService(kokoro=kokoro, settings=VOICE), reply_frames(text))
    assert " ".join(captions(down)).split()[: len(text.split()) - 1] == text.split()[:-1]
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]


async def test_the_words_of_a_reply_are_timed_across_its_sentences(
    kokoro: Kokoro, monkeypatch: pytest.MonkeyPatch
):
    # No sentence comes late, however slow this machine is; see the next test.
    monkeypatch.setattr(kokoro_tts, "time", SimpleNamespace(monotonic=lambda: 100.0))
    text = "Good morning, everyone. It is nice to meet you."
    down, _ = await spoken(KokoroTTSService(kokoro=kokoro, settings=VOICE), reply_frames(text))
    times = [frame.pts or 0 for frame in down if isinstance(frame, TTSTextFrame)]
    assert len(times) == len(text.split())
    assert times == sorted(times)
    length_s = (times[-1] - times[0]) / 1e9
    assert length_s == pytest.approx(len(sound(down)) / 24_000, abs=1.0)
    assert [type(frame) for frame in down].count(TTSStartedFrame) == 1
    assert [type(frame) for frame in down].count(TTSStoppedFrame) == 1


def test_the_words_of_a_sentence_that_comes_late_are_late_too(monkeypatch: pytest.MonkeyPatch):
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    reply = Reply()
    assert reply.next_begins_s() == 0.0
    reply.spoken_s = 1.0
    now_s = 100.4
    assert reply.next_begins_s() == 1.0
    now_s = 103.0
    assert reply.next_begins_s() == 3.0


async def test_metrics_say_how_soon_and_how_much(kokoro: Kokoro):
    text = "Hello there."
    down, _ = await spoken(KokoroTTSService(kokoro=kokoro), [TTSSpeakFrame(text)])
    data = [item for frame in down if isinstance(frame, MetricsFrame) for item in frame.data]
    assert [item.value for item in data if isinstance(item, TTSUsageMetricsData)] == [len(text)]
    assert [item.value > 0 for item in data if isinstance(item, TTFBMetricsData)][-1:] == [True]


async def test_a_reply_that_is_heard_out_is_kept_whole(kokoro: Kokoro):
    text = "Good morning — “friend”. Nice to meet you! 😀"
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    played, kept = await conversation(service, reply_frames(text), barge_in_s=None)
    assert kept == [text]
    assert word_errors(hear(played, 24_000), text) <= 0.2


async def test_after_a_barge_in_only_what_was_heard_is_kept(kokoro: Kokoro):
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    played, kept = await conversation(service, reply_frames(REPLY), barge_in_s=3.0)
    assert len(kept) == 1
    assert REPLY.startswith(kept[0])
    assert 3.0 <= len(played) / 24_000 < 4.0
    # The words around the moment at which the caller breaks in may count as heard or not.
    assert abs(len(words(kept[0])) - len(words(hear(played, 24_000)))) <= 3


async def test_after_a_barge_in_the_next_reply_is_spoken(kokoro: Kokoro):
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    barge_in = [SleepFrame(sleep=0.4), InterruptionFrame(), SleepFrame(sleep=0.1)]
    down, up = await spoken(
        service, [*reply_frames(f"{REPLY} " * 5), *barge_in, TTSSpeakFrame("Nice to meet you.")]
    )
    assert len(captions(down)) < 5 * len(REPLY.split())
    assert captions(down)[-4:] == ["Nice", "to", "meet", "you."]
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]


async def test_a_text_of_2000_characters_is_spoken_whole(
    kokoro: Kokoro, monkeypatch: pytest.MonkeyPatch
):
    text = ("nine little rivers run down to the old grey mill " * 60)[:2000].strip()
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    # Two minutes of speech would only take time; that no word is lost is the point.
    monkeypatch.setattr(kokoro._model, "run", brief(kokoro))
    down, up = await spoken(service, [TTSSpeakFrame(text)])
    assert captions(down) == text.split()
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]


def brief(kokoro: Kokoro):
    """The real model, which is given every symbol but asked to sound only the first few."""
    run = kokoro._model.run

    def short(symbols, style, speed, options):
        assert 0 < len(symbols) <= 510
        audio, durations = run(symbols[:3], style, speed, options)
        assert durations is not None
        return audio, np.concatenate(
            [durations[:-1], np.zeros(max(len(symbols) - 3, 0)), durations[-1:]]
        )

    return short


@pytest.mark.parametrize("text", ["😀", "... !?", "\0", "日本語", "   "])
async def test_what_cannot_be_said_ends_the_reply_without_an_error(kokoro: Kokoro, text: str):
    down, up = await spoken(KokoroTTSService(kokoro=kokoro), [TTSSpeakFrame(text)] * 4)
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]
    assert not sound(down).any()


async def test_settings_change_while_it_runs(kokoro: Kokoro):
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    speak = TTSSpeakFrame("Take your time, please.")
    fast = KokoroTTSService.Settings(voice="bf_emma", language="en-GB", speed=2.0)
    slow, _ = await spoken(service, [speak])
    quick, _ = await spoken(service, [TTSUpdateSettingsFrame(delta=fast), speak])
    assert service._settings.voice == "bf_emma"
    assert service._accent() == "british"
    assert len(sound(slow)) > 1.4 * len(sound(quick))


async def test_an_unknown_voice_is_refused_and_the_old_one_speaks_on(kokoro: Kokoro):
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    wrong = TTSUpdateSettingsFrame(delta=KokoroTTSService.Settings(voice="zz_top"))
    down, up = await spoken(service, [wrong, TTSSpeakFrame("Still here.")])
    errors = [frame.error for frame in up if isinstance(frame, ErrorFrame)]
    assert len(errors) == 1
    assert "There is no voice 'zz_top'; choose one of" in errors[0]
    assert captions(down) == ["Still", "here."]


def test_wrong_settings_are_refused_at_once(kokoro: Kokoro):
    with pytest.raises(KokoroError, match="no voice 'zz_top'"):
        KokoroTTSService(kokoro=kokoro, settings=KokoroTTSService.Settings(voice="zz_top"))
    with pytest.raises(KokoroError, match="speaks English only, not 'fr'"):
        KokoroTTSService(kokoro=kokoro, settings=KokoroTTSService.Settings(language="fr"))


@pytest.mark.parametrize("failure", [KokoroError("out of memory"), ValueError("out of memory")])
async def test_a_failure_is_reported_and_the_session_lives(
    kokoro: Kokoro, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    run, calls = kokoro._model.run, []

    def fails_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise failure
        return run(*args)

    monkeypatch.setattr(kokoro._model, "run", fails_once)
    down, up = await spoken(service, [TTSSpeakFrame("Lost."), TTSSpeakFrame("Found again.")])
    errors = [frame.error for frame in up if isinstance(frame, ErrorFrame)]
    assert len(errors) == 1
    assert "out of memory" in errors[0]
    assert captions(down)[-2:] == ["Found", "again."]


async def test_a_cancelled_pipeline_frees_the_voice(kokoro: Kokoro):
    service = KokoroTTSService(kokoro=kokoro, settings=VOICE)
    await spoken(service, [TTSSpeakFrame(REPLY * 20), CancelFrame()])
    assert (await kokoro.speak("Free.", "af_heart")).duration_s > 0.3
