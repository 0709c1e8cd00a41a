"""What the language model is asked, and what it is not asked any more."""

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    LLMContextFrame,
    LLMTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.tests.utils import SleepFrame, run_test

from agent.llm_service import SharedClientLLMService, timed_client
from tests.scripted_llm import ScriptedLLM


@pytest.fixture
async def client(llm: ScriptedLLM) -> AsyncIterator[AsyncOpenAI]:
    async with timed_client(llm.url, "none", 10) as client:
        yield client


def asks(words: str, *, speculation: bool = False) -> LLMContextFrame:
    return LLMContextFrame(LLMContext([{"role": "user", "content": words}]), speculation)


async def said(client: AsyncOpenAI, *frames: Frame) -> str:
    """All that leaves the service for the voice."""
    service = SharedClientLLMService(client=client)
    down, _ = await run_test(service, frames_to_send=[*frames])
    return "".join(frame.text for frame in down if isinstance(frame, LLMTextFrame))


async def test_what_is_asked_on_trial_is_said_when_the_turn_has_ended(client):
    trial = asks("One.", speculation=True)
    assert await said(client, UserStartedSpeakingFrame(), trial) == ""
    trial = asks("One.", speculation=True)
    ended = (SleepFrame(), UserStoppedSpeakingFrame())
    assert await said(client, UserStartedSpeakingFrame(), trial, *ended) == "You said: One."


async def test_what_was_withdrawn_before_it_came_is_never_said(client, llm):
    trial = asks("One.", speculation=True)
    overtakes = (EagerEndOfTurnCancelFrame(), UserStoppedSpeakingFrame())
    heard = await said(client, UserStartedSpeakingFrame(), *overtakes, trial, asks("One. Two."))
    assert heard == "You said: One. Two."
    assert [messages[-1]["content"] for messages in llm.requests] == ["One. Two."]


async def test_what_is_tried_after_a_withdrawal_is_asked(client):
    first, second = EagerEndOfTurnCancelFrame(), asks("One.", speculation=True)
    ended = (SleepFrame(), UserStoppedSpeakingFrame())
    assert await said(client, UserStartedSpeakingFrame(), first, second, *ended) == "You said: One."
