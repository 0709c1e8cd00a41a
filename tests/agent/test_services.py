"""What the language model learns before the first call is what the first call then begins with."""

import time

import pytest

from agent.persona import load_personas
from agent.services import Services
from agent.settings import Settings
from tests.caller import Caller
from tests.talk import all_said, greeted


def opening(name: str, provider: str) -> list[dict[str, str]]:
    personas = load_personas()
    settings = Settings.model_validate({"llm": {"provider": provider}})
    return Services(settings, personas)._opening(personas[name])


@pytest.mark.parametrize("name", ["ada", "edith"])
async def test_a_first_turn_begins_with_what_was_learnt(server, llm, name):
    async with Caller(f"{server.ws_url}?persona={name}") as caller:
        await greeted(caller)
        asked_at = time.monotonic()
        await caller.send("send-text", {"content": "Are you there?"})
        await all_said(caller, after=asked_at)
    *begins_with, words = llm.requests[-1]
    assert words == {"role": "user", "content": "Are you there?"}
    assert begins_with == opening(name, "openai")


def test_the_embedded_model_learns_the_examples_between_prompt_and_greeting():
    system, *examples, greeting = opening("ada", "embedded")
    assert [system, greeting] == opening("ada", "openai")
    assert [message["role"] for message in examples] == ["user", "assistant"] * 3
