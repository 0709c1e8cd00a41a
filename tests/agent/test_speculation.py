"""An answer is thought of in the caller's pause, and only spoken if he had finished."""

import pytest
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    ErrorFrame,
    InterruptionFrame,
    LLMContextFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from agent.turn_end import SpeculatingSilenceTurnEnd
from tests.agent.turn_frames import BEGINS, pauses, words

PAUSE_S = 0.3


async def turn(*frames):
    """Plays a caller's frames to a real user aggregator.

    Returns the downstream frames that tell of turns, in order, as short words, and the texts that
    the conversation holds afterwards.
    """
    context = LLMContext()
    strategies = UserTurnStrategies(stop=[SpeculatingSilenceTurnEnd(user_speech_timeout=PAUSE_S)])
    pair = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(user_turn_strategies=strategies)
    )
    down, _ = await run_test(pair.user(), frames_to_send=[*frames, SleepFrame(2 * PAUSE_S)])
    told = []
    for frame in down:
        match frame:
            case LLMContextFrame():
                asked = frame.context.messages[-1]["content"]  # type: ignore[index]
                told.append(f"{'try' if frame.speculation else 'ask'}: {asked}")
            case EagerEndOfTurnCancelFrame():
                told.append("withdraw")
            case UserStoppedSpeakingFrame():
                told.append("end")
    return told, [m["content"] for m in context.messages]  # type: ignore[index]


async def test_a_pause_that_was_the_end_needs_no_second_answer():
    told, kept = await turn(BEGINS, pauses(), words("What time is it?"))
    assert told == ["try: What time is it?", "end"]
    assert kept == ["What time is it?"]


async def test_a_caller_who_goes_on_is_answered_as_a_whole():
    told, kept = await turn(
        BEGINS, pauses(), words("What time"), SleepFrame(0.1), BEGINS, pauses(), words("is it?")
    )
    assert told == ["try: What time", "withdraw", "try: What time is it?", "end"]
    assert kept == ["What time is it?"]


async def test_nothing_is_tried_while_he_speaks():
    told, _ = await turn(BEGINS, words("What time"), SleepFrame(0.1), pauses(), words("is it?"))
    assert told == ["try: What time is it?", "end"]


async def test_nothing_is_tried_while_words_are_still_to_come():
    told, _ = await turn(BEGINS, pauses(), words("What", finalized=False), words("time is it?"))
    assert told == ["try: What time is it?", "end"]


async def test_a_silence_without_words_tries_nothing():
    told, kept = await turn(BEGINS, pauses())
    assert told == kept == []


async def test_a_model_that_fails_on_trial_is_asked_again():
    error = ErrorFrame("out of order", processor=OpenAILLMService(api_key="none"))
    told, kept = await turn(BEGINS, pauses(), words("Hello?"), SleepFrame(0.1), error)
    assert told == ["try: Hello?", "withdraw", "ask: Hello?", "end"]
    assert kept == ["Hello?"]


async def test_an_interruption_drops_the_answer_and_the_turn_asks_again():
    told, _ = await turn(BEGINS, pauses(), words("Hello?"), SleepFrame(0.1), InterruptionFrame())
    assert told == ["try: Hello?", "ask: Hello?", "end"]


@pytest.mark.parametrize("second", ["Two.", "One."])
async def test_a_turn_remembers_nothing_of_the_one_before(second):
    told, kept = await turn(
        *(BEGINS, pauses(), words("One."), SleepFrame(2 * PAUSE_S)),
        *(BEGINS, pauses(), words(second)),
    )
    assert told == ["try: One.", "end", f"try: {second}", "end"]
    assert kept == ["One.", second]
