"""The embedded language model's server dies during a call: the call lives, and it comes back."""

import json
import time
import urllib.error
import urllib.request

import psutil

from tests.caller import Caller
from tests.hearing import hear, word_errors
from tests.live_server import LiveServer
from tests.talk import all_said, greeted

APOLOGY = "Sorry, I lost my train of thought. Could you say that again?"


def ready(server: LiveServer) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server.url}/readyz") as response:
            return response.status, json.load(response)["status"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["status"]


async def ask(caller: Caller) -> str:
    """Types a question; returns the words that were heard in answer."""
    asked_at = time.monotonic()
    await caller.send("send-text", {"content": "How many legs has a dog?"})
    await all_said(caller, after=asked_at)
    return hear(*caller.audio_since(asked_at))


async def test_a_language_model_that_is_killed_is_apologised_for_and_comes_back():
    with LiveServer() as server:
        async with Caller(server.ws_url) as caller:
            await greeted(caller)
            [llm] = psutil.Process(server.process.pid).children()
            llm.kill()
            llm.wait()
            assert ready(server) == (503, "broken")
            assert word_errors(await ask(caller), APOLOGY) <= 0.25
            server.wait_for("The language model's server is back.")
            assert ready(server) == (200, "ready")
            said = await ask(caller)
            assert said
            assert word_errors(said, APOLOGY) > 0.5
            assert caller.closed is None
