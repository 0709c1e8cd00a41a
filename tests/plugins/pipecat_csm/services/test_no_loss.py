"""At any pace of the language model every sentence is spoken once, and its first clause at once."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from pipecat.frames.frames import (
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)

from tests.plugins.pipecat_csm.services.stage import SPEED, Stage

# Replies in the pieces that the voice gets: a first clause, then sentences.
REPLIES = [
    ["Of course,", "Dr. Lee is in.", "So am I."],
    ["Well, I do,", "e.g. now.", "Do you?"],
    ["No."],
    ["Oh.", "“Sit, please,” he said.", "Why?"],
    ["It is U.S. law,", "or so I hear."],
]
LONGEST_PAUSE_S = 0.1


def tokens(text: str, dice: random.Random) -> list[str]:
    """The text in pieces of any length."""
    cuts = sorted(dice.sample(range(1, len(text)), dice.randrange(len(text) // 2)))
    return [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]


async def write(stage: Stage, text: str, dice: random.Random) -> None:
    """Writes as a language model does, sometimes faster and sometimes slower than is spoken."""
    for token in tokens(text, dice):
        if dice.random() < 0.3:
            await asyncio.sleep(dice.random() * LONGEST_PAUSE_S)
        await stage.queue([LLMTextFrame(token)])


async def reply(stage: Stage, pieces: Sequence[str], dice: random.Random) -> None:
    await stage.queue([LLMFullResponseStartFrame()])
    await write(stage, " ".join(pieces), dice)
    await stage.queue([LLMFullResponseEndFrame()])


def asked_of(stage: Stage) -> list[str]:
    """Gets every text that the voice is asked to speak."""
    asked: list[str] = []
    stage.tts.add_event_handler("on_tts_request", lambda _, __, text: asked.append(text))
    return asked


@pytest.mark.parametrize("seed", range(5))
async def test_every_sentence_is_spoken_once_and_in_order(engine, voices, seed):
    dice = random.Random(seed)
    replies = dice.sample(REPLIES, 2)
    expected = [piece for pieces in replies for piece in pieces]
    async with Stage(engine, voices) as stage:
        asked = asked_of(stage)
        for pieces in replies:
            await reply(stage, pieces, dice)
            await asyncio.sleep(dice.choice([0.0, 0.5]))  # the next may come while it plays
        heard = await stage.heard(len(expected))
        assert not stage.errors
        assert asked == expected
        assert [segment.text.strip('"') for segment in heard] == [
            piece.replace("“", '"').replace("”", '"').strip('"') for piece in expected
        ]
        assert stage.speaker.played_s == pytest.approx(sum(s.duration_s for s in heard))


@pytest.mark.parametrize("seed", range(2))
async def test_the_first_sound_comes_before_the_second_clause_is_written(engine, voices, seed):
    dice = random.Random(seed)
    async with Stage(engine, voices) as stage:
        asked = asked_of(stage)
        for pieces in REPLIES:
            text, played_s = " ".join(pieces), stage.speaker.played_s
            first = len(pieces[0]) + len(" I")
            await stage.queue([LLMFullResponseStartFrame()])
            await write(stage, text[:first], dice)
            if len(pieces) > 1:
                # The language model writes no more until somebody has heard the beginning.
                await stage.speaker.plays(played_s + 0.08)
                assert asked[-1] == pieces[0]
                await write(stage, text[first:], dice)
            await stage.queue([LLMFullResponseEndFrame()])
            await stage.until(lambda pieces=pieces: asked[-len(pieces) :] == pieces)
            await stage.barge_in()
            await stage.at_rest()


@pytest.mark.parametrize("seed", range(6))
async def test_a_barge_in_cuts_off_one_reply_and_no_other(engine, voices, seed):
    dice = random.Random(seed)
    async with Stage(engine, voices) as stage:
        asked = asked_of(stage)
        for pieces in dice.sample(REPLIES, 4):
            asked.clear()
            before = len(stage.conversation.history.heard)
            writing = asyncio.create_task(reply(stage, pieces, dice))
            cut_off = dice.random() < 0.6
            if cut_off:
                await asyncio.sleep(dice.uniform(0.0, 12.0) / SPEED)
                writing.cancel()  # a language model that is interrupted writes no more
                await stage.barge_in()
            else:
                await writing
                await stage.until(lambda pieces=pieces: asked == pieces)
            await asyncio.sleep(0.1)
            await stage.at_rest()
            heard = [segment.text for segment in stage.conversation.history.heard[before:]]
            assert asked == pieces[: len(asked)]
            assert letters(pieces).startswith(letters(heard))
            if not cut_off:
                assert letters(heard) == letters(pieces)
            assert not stage.errors


def letters(texts: Sequence[str]) -> str:
    return "".join(filter(str.isalnum, "".join(texts)))
