"""A language model that fails or hangs is apologised for, aloud and on the page."""

import pytest
from pipecat.frames.frames import (
    LLMContextFrame,
    LLMTextFrame,
    TTSSpeakFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame
from pipecat.tests.utils import SleepFrame, run_test

from agent.apology import Apology
from agent.llm_service import SharedClientLLMService, timed_client
from tests.scripted_llm import ScriptedLLM


async def answer(url, timeout_s=10.0, *, on_trial=False, then=()):
    """What comes out of the language model, with the Apology before it."""
    llm = SharedClientLLMService(
        client=timed_client(url, "none", timeout_s),
        settings=SharedClientLLMService.Settings(model="scripted"),
    )
    context = LLMContext([{"role": "user", "content": "hello"}])
    down, _ = await run_test(
        Pipeline([Apology("Sorry, say that again?"), llm]),
        frames_to_send=[
            LLMContextFrame(context, speculation=on_trial),
            *then,
            SleepFrame(timeout_s if timeout_s < 2 else 0.1),
        ],
    )
    return down


async def test_an_answer_passes_untouched():
    with ScriptedLLM() as llm:
        down = await answer(llm.url)
    assert "".join(f.text for f in down if isinstance(f, LLMTextFrame)) == "You said: hello"
    assert not [f for f in down if isinstance(f, TTSSpeakFrame)]


@pytest.mark.parametrize("mode", ["error", "hang", "stall"])
async def test_an_endpoint_that_fails_or_falls_silent(mode):
    with ScriptedLLM(mode=mode) as llm:
        down = await answer(llm.url, timeout_s=0.5)
    apologies = [f for f in down if isinstance(f, TTSSpeakFrame)]
    assert [f.text for f in apologies] == ["Sorry, say that again?"]
    assert apologies[0].append_to_context is False
    notices = [f.data for f in down if isinstance(f, RTVIServerMessageFrame)]
    assert notices == [
        {"type": "notice", "level": "error", "text": "The language model did not answer."}
    ]


async def test_an_endpoint_that_is_down():
    down = await answer("http://127.0.0.1:9/v1", timeout_s=0.5)
    assert [f.text for f in down if isinstance(f, TTSSpeakFrame)] == ["Sorry, say that again?"]


async def test_an_answer_on_trial_that_fails_is_not_apologised_for():
    down = await answer("http://127.0.0.1:9/v1", timeout_s=0.5, on_trial=True)
    assert not [f for f in down if isinstance(f, TTSSpeakFrame | RTVIServerMessageFrame)]


async def test_it_is_once_the_turn_has_ended():
    with ScriptedLLM(mode="hang") as llm:
        down = await answer(
            llm.url,
            timeout_s=0.5,
            on_trial=True,
            then=[SleepFrame(0.1), UserStoppedSpeakingFrame()],
        )
    assert [f.text for f in down if isinstance(f, TTSSpeakFrame)] == ["Sorry, say that again?"]
