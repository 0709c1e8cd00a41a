"""The voice hears of the first sentence of an answer on trial, and of nothing else."""

import pytest
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator

from agent.draft import Draft

TRIAL = LLMContextFrame(LLMContext(), speculation=True)
ASKED = LLMContextFrame(LLMContext())


def text(words: str) -> list[Frame]:
    return [LLMTextFrame(token) for token in words.replace(" ", "| ").split("|")]


async def prepared(*frames: Frame) -> list[str]:
    sentences: list[str] = []

    async def prepare(sentence: str) -> None:
        sentences.append(sentence)

    draft = Draft(prepare, SimpleTextAggregator)
    for frame in frames:
        await draft.follow(frame)
    return sentences


async def test_the_first_sentence_as_soon_as_the_second_begins():
    answer = text("It costs $2.50, Dr. Lee says. You can")
    assert await prepared(TRIAL, LLMFullResponseStartFrame(), *answer) == [
        "It costs $2.50, Dr. Lee says."
    ]


async def test_the_only_sentence_at_the_end_of_the_answer():
    assert await prepared(TRIAL, *text("Half past two."), LLMFullResponseEndFrame()) == [
        "Half past two."
    ]


async def test_an_answer_that_nobody_waits_with_is_not_drafted():
    assert await prepared(ASKED, *text("One. Two."), LLMFullResponseEndFrame()) == []


@pytest.mark.parametrize(
    "verdict", [EagerEndOfTurnCancelFrame(), InterruptionFrame(), UserStoppedSpeakingFrame()]
)
async def test_after_the_verdict_nothing_is_drafted(verdict):
    assert await prepared(TRIAL, *text("One"), verdict, *text(". Two")) == []


async def test_an_empty_answer():
    assert await prepared(TRIAL, *text(" "), LLMFullResponseEndFrame()) == []
