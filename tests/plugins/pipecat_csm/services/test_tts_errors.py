"""What goes wrong is said in one sentence that names the remedy, and the pipeline goes on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pipecat.frames.frames import CancelFrame, LLMFullResponseStartFrame, LLMTextFrame
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner
from pipecat_csm.model.checkpoint import Checkpoint, load_checkpoint
from pipecat_csm.segment import Segment
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.tts import CSMTTSService

from tests.plugins.pipecat_csm.services.stage import Stage
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

LONG = "This is a rather long sentence, which is not going to end very soon. " * 4
LOST = "Of these ten words nobody hears more than four or five."


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    shape: dict[str, Any] = {"codec_config": {"upsampling_ratios": [8, 6, 5, 4]}}
    return load_checkpoint(save_tiny(tiny_csm(**shape), tmp_path_factory.mktemp("csm")))


@pytest.fixture
def frail(checkpoint: Checkpoint) -> Iterator[Engine]:
    """An engine of one session that a test may break."""
    with Engine(Runner(checkpoint.model, slots=1), checkpoint.tokenizer) as engine:
        yield engine


async def goes_on(stage: Stage) -> None:
    """The pipeline takes a reply to its end, spoken or not."""
    ended: list[Any] = []
    stage.aggregators.assistant().add_event_handler(
        "on_assistant_turn_stopped", lambda _, message: ended.append(message)
    )
    await stage.answer("Are you still there?")
    await stage.until(lambda: ended)


async def test_an_engine_that_is_closed_in_the_middle_of_a_reply_is_permanent(frail, voices):
    async with Stage(frail, voices) as stage:
        unspoken: list[str] = []
        stage.tts.add_event_handler("on_unspoken", lambda _, text: unspoken.append(text))
        await stage.answer(LONG)
        await stage.speaker.plays(1.0)
        await asyncio.to_thread(frail.close)
        await stage.until(lambda: stage.errors)
        (error,) = stage.errors
        assert "engine has stopped: load the model again" in error
        assert not stage.tts.is_usable
        await stage.until(lambda: len(unspoken) == 5)  # the rest of a clause, and all behind it
        assert " ".join(unspoken).endswith(LONG[40:].strip())
        await goes_on(stage)
        assert stage.errors == [error]
        # What nobody spoke, nobody heard.
        assert "not going to end" not in " ".join(stage.said)


async def test_where_no_slot_is_free_the_service_is_not_usable_and_says_why(frail, voices):
    taken = frail.open_session()
    async with Stage(frail, voices) as stage:
        await stage.until(lambda: stage.errors)
        assert stage.errors == ["All 1 sessions of the voice are taken; try again later."]
        assert not stage.tts.is_usable
        await goes_on(stage)
        taken.close()
        assert await stage.tts.recover()
        await stage.answer("Now I speak.")
        await stage.speaker.plays(0.5)
        assert len(stage.errors) == 1


async def test_a_step_that_fails_costs_the_rest_of_a_sentence_only(frail, voices, monkeypatch):
    step, fails = frail._runner.step, [False]

    def frail_step():
        if fails[0]:
            fails[0] = False
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return step()

    monkeypatch.setattr(frail._runner, "step", frail_step)
    async with Stage(frail, voices) as stage:
        await stage.answer(f"{LOST} But this is spoken.")
        await stage.speaker.plays(1.0)
        fails[0] = True
        beginning, after = await stage.heard(2)
        (error,) = stage.errors
        assert error.startswith("The voice failed while it spoke: CUDA error")
        assert stage.tts.is_usable
        # What was never spoken is no part of what was heard.
        assert LOST.startswith(beginning.text)
        assert len(beginning.text) < len(LOST)
        assert after.text == "But this is spoken."
        await stage.until(lambda: stage.said == [f"{beginning.text} {after.text}"])


async def test_what_nobody_expected_costs_a_sentence_only(frail, voices, monkeypatch):
    async with Stage(frail, voices) as stage:
        with monkeypatch.context() as patch:
            patch.setattr(CSMConversation, "speak", _surprise)
            await stage.answer("Nobody hears this.")
            await stage.until(lambda: stage.errors)
        (error,) = stage.errors
        assert "goes on with the next: ZeroDivisionError" in error
        await stage.answer("But this is heard.")
        assert [s.text for s in await stage.heard(1)] == ["But this is heard."]


async def _surprise(*_: object) -> None:
    raise ZeroDivisionError


async def test_cancel_stops_the_engine_at_once(frail, voices):
    stage = Stage(frail, voices)
    async with stage:
        await stage.queue([LLMFullResponseStartFrame(), LLMTextFrame(LONG * 3)])
        await stage.until(lambda: frail.occupancy.speaking)
        await stage.worker.queue_frame(CancelFrame())
        await stage.until(lambda: not frail.occupancy.speaking)
        steps = frail.steps
        await asyncio.sleep(0.1)
        assert frail.steps == steps


async def test_cleanup_gives_the_slot_back_and_may_be_repeated(frail, voices):
    async with Stage(frail, voices) as stage:
        await stage.answer("Hello there.")
        await stage.until(lambda: frail.occupancy.speaking)
        assert frail.occupancy.open == 1
    assert frail.occupancy.open == frail.occupancy.speaking == 0
    await stage.tts.cleanup()
    await stage.tts.cleanup()


async def test_cleanup_of_a_service_that_never_spoke_does_nothing(frail, voices):
    service = CSMTTSService(conversation=CSMConversation(frail), voices=voices)
    await service.cleanup()
    await service.cleanup()


@pytest.mark.parametrize(
    ("voices", "settings", "expected"),
    [
        ({}, {}, "needs a voice"),
        ({"ada": []}, {"voice": "eve"}, "There is no voice 'eve'; there are ada."),
        ({"ada": []}, {"temperature": -1}, "temperature is a number from 0 to 1,000, not -1."),
        ({"ada": []}, {"top_k": 2.5}, "top_k is a whole number"),
    ],
)
def test_a_service_is_not_made_of_what_makes_no_sense(engine, voices, settings, expected):
    with pytest.raises(ValueError, match=expected):
        CSMTTSService(
            conversation=CSMConversation(engine),
            voices=voices,
            settings=CSMTTSService.Settings(**settings),
        )


async def test_references_that_do_not_fit_are_refused_in_one_sentence(frail):
    codes = torch.randint(0, 16, (600, 4), generator=torch.manual_seed(7))
    async with Stage(frail, {"ada": [Segment("A very long one.", 0, codes=codes)]}) as stage:
        await stage.until(lambda: stage.errors)
        (error,) = stage.errors
        assert "references" in error
        await goes_on(stage)
