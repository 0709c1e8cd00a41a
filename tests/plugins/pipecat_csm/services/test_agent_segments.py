"""After any barge-in the language model's context, the history and the engine agree."""

import asyncio
import random

import pytest
from pipecat_csm.engine.speech import Speech
from pipecat_csm.history import turns_of

from tests.plugins.pipecat_csm.services.stage import SPEED, Stage

REPLY = (
    "Sure, I can help with that. The old bridge was closed all winter, so everyone walked along "
    "the river. Nobody complained about the cold, and that was that."
)


def heard_text(stage: Stage) -> str:
    return " ".join(text for _, text in turns_of(stage.conversation.history.heard))


async def test_a_reply_that_is_heard_to_its_end_is_history_word_for_word(engine, voices):
    async with Stage(engine, voices) as stage:
        await stage.answer("Hello there. How are you?")
        await stage.until(lambda: stage.said)
        await stage.at_rest()
        assert stage.said == ["Hello there. How are you?"]
        assert [s.text for s in stage.conversation.history.heard] == [
            "Hello there.",
            "How are you?",
        ]
        assert stage.conversation.in_step


@pytest.mark.parametrize("seed", range(6))
async def test_a_barge_in_leaves_all_three_agreeing(engine, voices, seed):
    chance = random.Random(seed)
    async with Stage(engine, voices) as stage:
        for _ in range(3):
            await stage.answer(REPLY)
            await asyncio.sleep(chance.uniform(0.0, 12.0) / SPEED)
            await stage.barge_in()
            await stage.at_rest()
            assert heard_text(stage) == " ".join(stage.said)
            assert stage.conversation.history.heard == stage.conversation.history.segments
            assert stage.conversation.in_step


async def test_a_barge_in_ends_the_making_within_a_frame(engine, voices, monkeypatch):
    made: dict[Speech, int] = {}
    cancel = Speech.cancel

    def noted(speech: Speech) -> None:
        made.setdefault(speech, speech.made)
        cancel(speech)

    monkeypatch.setattr(Speech, "cancel", noted)
    async with Stage(engine, voices) as stage:
        await stage.answer(REPLY)
        await stage.speaker.plays(0.1)
        await stage.barge_in()
        await stage.at_rest()
        cut = [speech for speech in made if speech.ending == "cancelled"]
        assert cut
        assert all(speech.made <= made[speech] + 1 for speech in cut)
        assert engine.occupancy.speaking == 0
