"""Whole conversations with the real server over its websocket: real VAD, Whisper and Kokoro."""

import asyncio
import contextlib

import numpy as np
import pytest

from tests.caller import Caller
from tests.e2e.waiting import until
from tests.hearing import hear, word_errors, words
from tests.live_server import LiveServer
from tests.talk import (
    QUESTION,
    REMARK,
    all_said,
    answer,
    greeted,
    interims,
    spoken_words,
    transcripts,
)

LONG = (
    "Paris is the capital of France. It lies on the river Seine. Many people visit it every year. "
    "They like the museums, the bridges and the bread. In spring the parks are full of flowers. "
    "In autumn the light is golden and the streets are quiet."
)


async def test_a_question_is_heard_and_answered_aloud(server, llm, question):
    llm.reply = lambda messages: "The capital of France is Paris, on the river Seine."
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        audio, rate = caller.audio_since(0)
        assert word_errors(hear(audio, rate), "Hi, I'm Ada. What is on your mind?") <= 0.3
        spoken_at = await answer(caller, question)
        assert word_errors(" ".join(transcripts(caller)), QUESTION) <= 0.15
        audio, rate = caller.audio_since(spoken_at)
        said = "The capital of France is Paris, on the river Seine."
        assert word_errors(hear(audio, rate), said) <= 0.2
        assert word_errors(spoken_words(caller, after=spoken_at), said) == 0
        latency = (await caller.message("server-message", after=spoken_at)).data
        assert latency["type"] == "latency"
        assert sum(stage["ms"] for stage in latency["stages"]) == pytest.approx(
            latency["total_ms"], abs=4
        )
    assert llm.requests[0][0]["content"].startswith("You are Ada")


async def test_captions_come_while_he_speaks(server, llm, remark):
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        # A slow machine needs more of it than a fast one.
        while not interims(caller):
            assert not transcripts(caller), "he was still speaking"
            await caller.say(remark)
        caption = words(interims(caller)[0])
        beginning = words(f"{REMARK} " * 10)[: len(caption)]
        assert word_errors(" ".join(caption), " ".join(beginning)) <= 0.2


async def test_the_model_reads_both_sides_of_the_conversation(server, llm, question, remark):
    llm.reply = lambda messages: f"That was turn number {len(messages) // 2}."
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        await answer(caller, question)
        await answer(caller, remark)
    roles = [m["role"] for m in llm.requests[-1]]
    assert roles == ["system", "assistant", "user", "assistant", "user"]
    contents = [m["content"] for m in llm.requests[-1]]
    assert word_errors(contents[2], QUESTION) <= 0.15
    assert contents[3] == "That was turn number 1."
    assert word_errors(contents[4], REMARK) <= 0.15


async def test_a_pause_within_a_turn_is_answered_on_trial_and_never_heard(
    server, llm, question, remark
):
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        # smart-turn takes the question, whose voice stays up, for a beginning, but not for long.
        await caller.say(question)
        with contextlib.suppress(AssertionError):
            await until(lambda: llm.requests, within_s=0.8)
        spoken_at = await answer(caller, remark)
        assert word_errors(" ".join(transcripts(caller)), f"{QUESTION} {REMARK}") <= 0.15
        audio, rate = caller.audio_since(spoken_at)
        assert word_errors(hear(audio, rate), f"You said {QUESTION} {REMARK}") <= 0.25
    asked = [request[-1]["content"] for request in llm.requests]
    assert word_errors(asked[0], QUESTION) <= 0.15, "the first half was answered on trial"
    assert word_errors(asked[-1], f"{QUESTION} {REMARK}") <= 0.15
    assert [m["role"] for m in llm.requests[-1]] == ["system", "assistant", "user"]


async def test_barge_in_stops_the_voice_and_the_context_ends_where_it_stopped(
    server, llm, question, remark
):
    llm.reply = lambda messages: LONG if len(messages) < 5 else "Very well."
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        spoken_at = await caller.say(question)
        began_at = (await caller.message("bot-started-speaking", after=spoken_at)).at
        await asyncio.sleep(3)
        second_at = await caller.say(remark)
        cut_at = next(at for at in caller.interruptions if at > began_at)
        assert cut_at < second_at, "it stopped while he was still speaking"
        await all_said(caller, after=second_at)
        late = [h for h in caller.heard if cut_at < h.at < second_at]
        assert not late, "no audio of the old answer came after the interruption"
    heard = llm.requests[-1][3]["content"]
    assert LONG.startswith(heard.rstrip(" .")), "the context holds the beginning of the answer"
    told = [m.data["text"] for m in caller.messages if m.data and m.data.get("type") == "heard"]
    assert told == [heard], "the client is told what"
    assert 3 <= len(heard.split()) < len(LONG.split()) * 0.7


async def test_typed_text_interrupts_and_is_answered_aloud(server, llm, question):
    llm.reply = lambda messages: (
        LONG if "capital" in messages[-1]["content"].lower() else "Apples are red or green."
    )
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        spoken_at = await caller.say(question)
        await caller.message("bot-started-speaking", after=spoken_at)
        await asyncio.sleep(1)
        options = {"run_immediately": True, "audio_response": True}
        await caller.send("send-text", {"content": "Tell me about apples.", "options": options})
        cut = await caller.wait(lambda: [at for at in caller.interruptions if at > spoken_at])
        await all_said(caller, after=cut[0])
        audio, rate = caller.audio_since(cut[0])
        assert word_errors(hear(audio, rate), "Apples are red or green.") <= 0.25
    assert llm.requests[-1][-1]["content"] == "Tell me about apples."


async def test_figures_are_spoken_as_words(server, llm, question):
    llm.reply = lambda messages: "**It costs $42** for 3 nights."
    async with Caller(server.ws_url) as caller:
        await greeted(caller)
        spoken_at = await answer(caller, question)
        audio, rate = caller.audio_since(spoken_at)
    heard = hear(audio, rate).lower()
    assert "nights" in heard
    assert "star" not in heard
    assert "42" in heard or "forty" in heard


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (48_000, 1), (44_100, 2)])
async def test_any_microphone(server, llm, question, rate, channels):
    import soxr

    llm.reply = lambda messages: "Understood."
    url = f"{server.ws_url}?persona=max"
    async with Caller(url, rate=rate, channels=channels) as caller:
        await greeted(caller)
        await answer(caller, soxr.resample(question, 16_000, rate))
        assert word_errors(" ".join(transcripts(caller)), QUESTION) <= 0.2


async def test_four_callers_hear_and_read_only_their_own_words(server, llm, question, remark):
    def by_persona(messages: list[dict]) -> str:
        system = messages[0]["content"]
        if "Ada" in system:
            return "Ada says apples and oranges."
        if "Max" in system:
            return "Max says hammers and nails."
        return "Edith says teapots and cups."

    llm.reply = by_persona
    said = {
        "ada": "Ada says apples and oranges.",
        "max": "Max says hammers and nails.",
        "edith": "Edith says teapots and cups.",
    }

    async def converse(persona: str, speech: np.ndarray, heard: str) -> None:
        async with Caller(f"{server.ws_url}?persona={persona}") as caller:
            await greeted(caller)
            spoken_at = await answer(caller, speech)
            assert word_errors(" ".join(transcripts(caller)), heard) <= 0.2
            assert word_errors(spoken_words(caller, after=spoken_at), said[persona]) == 0
            audio, rate = caller.audio_since(spoken_at)
            assert word_errors(hear(audio, rate), said[persona]) <= 0.4
            others = {"apples", "hammers", "teapots"} - set(said[persona].lower().split())
            everything = str([m.data for m in caller.messages]).lower()
            assert not [o for o in others if o in everything.replace(heard.lower(), "")]

    await asyncio.gather(
        converse("ada", question, QUESTION),
        converse("max", question, QUESTION),
        converse("edith", question, QUESTION),
        converse("ada", question, QUESTION),
    )
    # Each model request holds the words of one conversation only.
    for messages in llm.requests:
        names = [n for n in ("Ada", "Max", "Edith") if n in str(messages)]
        assert len(names) == 1


@pytest.mark.parametrize("engine", ["webrtc", "hybrid"])
async def test_every_voice_detector_carries_a_conversation(llm, question, engine):
    environ = {"LLM__PROVIDER": "openai", "LLM__BASE_URL": llm.url, "VAD__ENGINE": engine}
    with LiveServer(**environ) as server:
        async with Caller(f"{server.ws_url}?persona=max") as caller:
            await greeted(caller)
            await answer(caller, question)
            assert word_errors(" ".join(transcripts(caller)), QUESTION) <= 0.15
