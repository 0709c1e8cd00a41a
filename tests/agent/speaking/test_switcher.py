"""CSM speaks while it can, the spare voice while it cannot, and nothing is lost or said twice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner
from pipecat_csm import CSMError

from agent.embedded.kokoro_tts import KokoroTTSService
from agent.persona import load_personas
from agent.restarts import RestartLimit
from agent.settings import CSMSettings
from agent.speaking.csm import CSMUnavailable, SharedCSM
from agent.speaking.mouth import Mouth, csm_mouth
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    csm = tiny_csm(codec_config={"upsampling_ratios": [8, 6, 5, 4]})
    return save_tiny(csm, tmp_path_factory.mktemp("csm"))


class Ear(FrameProcessor):
    """Keeps what is said, and by whom."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.ended = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.words.append(frame.text)
        self.ended += isinstance(frame, TTSStoppedFrame)
        await self.push_frame(frame, direction)

    @property
    def text(self) -> str:
        return " ".join(self.words)


class Call:
    """One call's mouth in a pipeline of its own."""

    def __init__(self, mouth: Mouth) -> None:
        assert mouth.switcher is not None
        self.mouth, self.switcher, self.ear = mouth, mouth.switcher, Ear()
        self.switched: list[str] = []
        self.worker = PipelineWorker(
            Pipeline([mouth.tts, self.ear]),
            params=PipelineParams(audio_out_sample_rate=24_000),
            cancel_on_idle_timeout=False,
        )

        @self.switcher.strategy.event_handler("on_service_switched")
        async def note(strategy: Any, service: Any) -> None:
            self.switched.append("csm" if service is self.switcher.csm else "kokoro")

    async def answer(self, *tokens: str) -> None:
        texts = [LLMTextFrame(token) for token in tokens]
        await self.worker.queue_frames(
            [LLMFullResponseStartFrame(), *texts, LLMFullResponseEndFrame()]
        )

    async def line(self, text: str) -> None:
        await self.worker.queue_frame(TTSSpeakFrame(text))

    async def until(self, condition: Callable[[], object], within_s: float = 30) -> None:
        for _ in range(int(within_s / 0.05)):
            if condition():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"waited in vain; said: {self.ear.text!r}")


@asynccontextmanager
async def call(csm: SharedCSM, kokoro: Any) -> AsyncIterator[Call]:
    spare = KokoroTTSService(kokoro=kokoro)
    # Nothing plays here, so that a lead would never end.
    mouth = await csm_mouth(csm, load_personas()["ada"], spare, lead_s=1e6)
    call = Call(mouth)
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(call.worker)
    running = asyncio.create_task(runner.run())
    try:
        yield call
    finally:
        await call.worker.cancel()
        await asyncio.wait_for(running, 30)


@asynccontextmanager
async def loaded(checkpoint: Path, sessions: int = 2) -> AsyncIterator[SharedCSM]:
    settings = CSMSettings(checkpoint=str(checkpoint))
    csm = SharedCSM(settings, sessions, limit=RestartLimit(first_pause_s=0.1))
    await csm.load(lambda _: None)
    try:
        yield csm
    finally:
        await csm.close()


async def test_csm_speaks_and_the_spare_voice_is_silent(checkpoint, kokoro):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        await one.answer("Good ", "morning.")
        await one.until(lambda: one.ear.ended)
        assert one.ear.text == "Good morning."
        assert one.switched == []
        assert one.mouth.conversation is not None
        assert len(one.mouth.conversation.history.segments) == 1


async def test_an_engine_that_dies_is_stood_in_for_and_comes_back(checkpoint, kokoro):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        await one.answer("One. ", "Two.")
        await one.until(lambda: one.ear.ended)
        first = csm.engine
        first.close()
        await one.answer("Three. ", "Four. ", "Five.")
        await one.until(lambda: one.ear.ended == 2)
        assert one.ear.text == "One. Two. Three. Four. Five."
        assert one.switched == ["kokoro"]
        await one.until(lambda: csm.engine is not first and one.switcher.csm.speaks)
        await one.answer("Six.")
        assert one.mouth.conversation is not None
        history = one.mouth.conversation.history
        # The engine that came back has read what CSM itself had said.
        await one.until(lambda: len(history.segments) == 3)
        assert [segment.text for segment in history.segments] == ["One.", "Two.", "Six."]
        assert one.switched == ["kokoro", "csm"]
        assert one.ear.text == "One. Two. Three. Four. Five. Six."


async def test_what_was_begun_before_the_engine_died_is_finished_once(checkpoint, kokoro):
    text = "It was a long and quiet evening. They talked until the sun came up."
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        await one.answer(text)
        await one.until(lambda: len(one.ear.words) >= 3)
        csm.engine.close()
        await one.until(lambda: one.ear.ended == 2)
        assert one.ear.text == text


async def test_a_caller_for_whom_no_slot_is_left_has_the_spare_voice_until_one_is(
    checkpoint, kokoro
):
    async with loaded(checkpoint, sessions=1) as csm, call(csm, kokoro) as late:
        await late.line("Hello.")
        await late.until(lambda: late.ear.ended)
        async with call(csm, kokoro) as other:
            await other.line("Good day.")
            await other.until(lambda: other.ear.ended)
            assert other.switched == ["kokoro"]
            await late.worker.cancel()
            await other.until(lambda: other.switcher.csm.speaks)
            await other.line("And here I am.")
            await other.until(lambda: "here I am." in other.ear.text)
            assert other.switched == ["kokoro", "csm"]
            assert other.ear.text == "Good day. And here I am."


async def test_two_lines_in_a_row_are_said_by_one_voice_each(checkpoint, kokoro):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        csm.engine.close()
        await one.line("First.")
        await one.line("Second.")
        await one.line("Third.")
        await one.until(lambda: "Third." in one.ear.text)
        assert one.ear.text == "First. Second. Third."


async def test_a_text_that_csm_fails_on_is_said_once_by_the_spare_voice(
    checkpoint, kokoro, monkeypatch
):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        tried: list[str] = []

        async def refuse(text: str, turn: str) -> Any:
            tried.append(text)
            raise CSMError("This text is too much.")

        with monkeypatch.context() as patch:
            patch.setattr(one.mouth.conversation, "speak", refuse)
            await one.answer("One. ", "Two.")
            await one.until(lambda: one.ear.ended == 2)
            assert tried == ["One.", "Two."]
        await one.answer("Three.")
        await one.until(lambda: one.ear.ended == 3)
        assert one.ear.text == "One. Two. Three."
        assert one.switched == ["kokoro", "csm"]


@pytest.mark.parametrize("nothing", ["", "  ", "\N{GRINNING FACE}"])
async def test_a_line_of_nothing_holds_no_voice(checkpoint, kokoro, nothing):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        await one.line(nothing)
        csm.engine.close()
        await one.line("But this is said.")
        await one.until(lambda: "is said." in one.ear.text)
        assert one.switched == ["kokoro"]
        assert one.ear.text.removeprefix(nothing).strip() == "But this is said."


async def test_a_line_in_the_middle_of_an_answer_holds_no_voice(checkpoint, kokoro):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        await one.worker.queue_frames(
            [
                LLMFullResponseStartFrame(),
                LLMTextFrame("One. "),
                TTSSpeakFrame("Two."),
                LLMTextFrame("Three."),
                LLMFullResponseEndFrame(),
            ]
        )
        await one.until(lambda: one.ear.ended == 2)
        csm.engine.close()
        await one.line("Four.")
        await one.until(lambda: one.switched == ["kokoro"])
        await one.until(lambda: "Four." in one.ear.text)


async def test_an_interruption_while_csm_fails_leaves_nothing_to_be_said(checkpoint, kokoro):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        for _ in range(3):
            await one.answer("It was a long evening. ", "They talked.")
            await asyncio.sleep(0.05)
            await one.worker.queue_frame(InterruptionFrame())
        await one.answer("It was a long evening.")
        await one.until(lambda: one.ear.words)
        csm.engine.close()
        await one.worker.queue_frame(InterruptionFrame())
        said = len(one.ear.words)
        await one.answer("Good night.")
        await one.until(lambda: one.ear.words[-2:] == ["Good", "night."])
        assert one.switched == ["kokoro"]
        assert "They" not in one.ear.words[said:]


async def test_trying_goes_on_after_a_failure_that_nobody_foresaw(checkpoint, kokoro, monkeypatch):
    async with loaded(checkpoint) as csm, call(csm, kokoro) as one:
        first = csm.engine
        opened, use = [0], one.switcher.csm.recover

        async def surprise(engine: Any = None) -> bool:
            opened[0] += 1
            if opened[0] == 1:
                raise ZeroDivisionError
            return await use(engine)

        monkeypatch.setattr(one.switcher.csm, "recover", surprise)
        first.close()
        await one.until(lambda: opened[0] > 1 and one.switcher.csm.speaks)


async def test_a_checkpoint_that_is_not_there_is_one_sentence(tmp_path):
    csm = SharedCSM(CSMSettings(checkpoint=str(tmp_path / "nothing")), 1)
    with pytest.raises(CSMUnavailable, match="nothing"):
        await csm.load(lambda _: None)


async def test_a_voice_is_encoded_once(checkpoint, monkeypatch):
    async with loaded(checkpoint) as csm:
        ada = load_personas()["ada"]
        voice = await csm.voice(ada)
        assert all(segment.codes is not None for segment in voice)
        monkeypatch.setattr(csm.engine, "encode", None)
        assert await csm.voice(ada) is voice


async def test_a_voice_whose_recording_is_gone_is_one_sentence(checkpoint, tmp_path):
    ada = load_personas()["ada"].model_copy(update={"name": "gone", "folder": tmp_path})
    async with loaded(checkpoint) as csm:
        with pytest.raises(CSMUnavailable, match="reference"):
            await csm.voice(ada)


@pytest.fixture(scope="module")
def kokoro() -> Iterator[Any]:
    from agent.embedded.kokoro import Kokoro
    from agent.models import resolve

    voice = Kokoro(resolve("kokoro-82m", "tts"))
    yield voice
    voice.close()
