"""What a bad caller or a bad endpoint does to others: nothing. Real server, real sockets."""

import asyncio
import contextlib

import numpy as np
import websockets

from tests.caller import Caller
from tests.hearing import hear, word_errors
from tests.live_server import LiveServer
from tests.talk import answer, greeted, transcripts

APOLOGY = "Sorry, I lost my train of thought. Could you say that again?"


async def is_well(server: LiveServer) -> None:
    """A new caller is greeted."""
    async with Caller(server.ws_url) as caller:
        await greeted(caller)


async def fails_then_recovers(server, llm, question, mode):
    llm.mode = mode
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        spoken_at = await answer(caller, question)
        audio, rate = caller.audio_since(spoken_at)
        assert word_errors(hear(audio, rate), APOLOGY) <= 0.25
        notices = [
            m.data
            for m in caller.messages
            if m.type == "server-message" and m.data["type"] == "notice"
        ]
        assert [n["text"] for n in notices] == ["The language model did not answer."]
        llm.mode = "ok"
        llm.reply = lambda messages: "The line is working again."
        spoken_at = await answer(caller, question)
        audio, rate = caller.audio_since(spoken_at)
        assert word_errors(hear(audio, rate), "The line is working again.") <= 0.25
    assert APOLOGY not in str(llm.requests[-1]), "the model never said it"


async def test_a_language_model_that_fails_is_apologised_for(server, llm, question):
    await fails_then_recovers(server, llm, question, "error")


async def test_a_language_model_that_hangs_is_apologised_for(server, llm, question):
    await fails_then_recovers(server, llm, question, "hang")


async def test_garbage_is_ignored_and_the_call_goes_on(server, llm, question):
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        for garbage in (b"\xff\xfegarbage", b"", "text", b"\x12\x02\x08\x01"):
            await caller.send_raw(garbage)
        await answer(caller, question)
        assert transcripts(caller)


async def test_endless_garbage_ends_that_call_only(server, llm):
    async with Caller(server.ws_url) as good, Caller(server.ws_url) as bad:
        await greeted(good)
        for _ in range(60):
            if bad.closed:
                break
            try:
                await bad.send_raw(b"\xff" * 100)
            except websockets.ConnectionClosed:
                break
        await bad.wait(lambda: bad.closed, what="the end of the call")
        assert good.closed is None
    await is_well(server)


async def test_a_ten_megabyte_message_ends_that_call_only(server, llm):
    async with Caller(server.ws_url) as good, Caller(server.ws_url) as bad:
        await greeted(good)
        with contextlib.suppress(websockets.ConnectionClosed):
            await bad.send_raw(b"\0" * 10_000_000)
        code, _ = await bad.wait(lambda: bad.closed, what="the end of the call")
        assert code == 1009
        assert good.closed is None
    await is_well(server)


async def test_a_caller_who_leaves_mid_sentence(server, llm, question):
    llm.reply = lambda messages: "A long answer. " * 20
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        await caller.say(question)
        await caller.message("bot-started-speaking", after=caller.heard[-1].at)
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        await caller.say(question[: len(question) // 2])
    await is_well(server)


async def test_a_silent_microphone_gets_no_answer(server, llm):
    async with Caller(server.ws_url) as caller:
        greeted_at = await greeted(caller)
        await caller.say(np.zeros(16_000 * 4, np.float32))
        assert not [h for h in caller.heard if h.at > greeted_at + 1 and np.any(h.audio)]
        assert not transcripts(caller)
    assert not llm.requests


async def test_noise_gets_no_answer(server, llm):
    noise = np.random.default_rng(0).normal(0, 0.05, 16_000 * 4).astype(np.float32)
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        await caller.say(noise)
        await asyncio.sleep(2)
        assert not transcripts(caller)
    assert not llm.requests


async def test_many_callers_who_connect_and_vanish(server, llm):
    async def vanish() -> None:
        async with websockets.connect(server.ws_url):
            pass

    for _ in range(10):
        await asyncio.gather(vanish(), vanish())
    for _ in range(40):
        try:
            await is_well(server)
            return
        except (AssertionError, websockets.ConnectionClosed):
            await asyncio.sleep(0.5)
    raise AssertionError("the lines of vanished callers were not freed")
