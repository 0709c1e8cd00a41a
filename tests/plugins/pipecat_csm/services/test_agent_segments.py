"""After any barge-in the language model's context, the history and the engine agree."""

import asyncio
import random
from typing import Any

import pytest
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.speech import Speech
from pipecat_csm.history import turns_of
from pipecat_csm.services.tts import Voices

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


async def words_told(
    engine: Engine, voices: Voices, monkeypatch: pytest.MonkeyPatch, *late_s: float
) -> list[tuple[str, float]]:
    """The words of a reply with their times, where more and more of its sound is late."""
    lateness = iter(late_s)
    told: list[tuple[str, float]] = []
    async with Stage(engine, voices) as stage:
        now_late_s = next(lateness)

        async def take_note(words: list[tuple[str, float]], *args: Any) -> None:
            nonlocal now_late_s
            told.extend(words)
            now_late_s = next(lateness, now_late_s)

        monkeypatch.setattr(stage.conversation.playout, "late_s", lambda reply, waits: now_late_s)
        monkeypatch.setattr(stage.tts, "add_word_timestamps", take_note)
        await stage.answer("Hello there. How are you?")
        await stage.until(lambda: len(told) == 5)
    return told


async def test_words_are_told_as_late_as_their_sound_and_in_order(engine, voices, monkeypatch):
    in_time = await words_told(engine, voices, monkeypatch, 0.0)
    late = await words_told(engine, voices, monkeypatch, 0.0, 2.0)
    assert [word for word, _ in late] == [word for word, _ in in_time]
    apart = [at - before for (_, at), (_, before) in zip(late, in_time, strict=True)]
    assert apart[0] == 0.0
    assert apart[-1] == pytest.approx(2.0)
    caught_up = await words_told(engine, voices, monkeypatch, 5.0, 0.0)
    times = [at for _, at in caught_up]
    assert times == sorted(times)
    assert times[-1] >= times[0] >= 5.0


async def test_who_was_told_a_text_is_told_if_it_was_not_heard_to_its_end(engine, voices):
    async with Stage(engine, voices) as stage:
        stage.conversation.playout.buffer_s = 600.0  # a device that holds all of it
        corrected: list[list[str]] = []
        stage.aggregators.assistant().add_event_handler(
            "on_corrected", lambda _: corrected.append(stage.said)
        )
        await stage.answer("No.")
        await stage.until(lambda: stage.said)
        await stage.barge_in()
        await stage.until(lambda: corrected)
        await stage.at_rest()
        assert corrected == [[]]


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
