"""The whole agent with CSM: real VAD, Whisper, language model and sockets.

Once with a tiny one, of whose random weights nothing is understood, and once with csm-mini.
"""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipecat_whisper import EngineBusyError
from playwright.async_api import expect

from tests.caller import Caller
from tests.e2e.browser import microphone, open_page
from tests.e2e.csm_calls import (
    AGENT,
    CALLER,
    GREETING,
    as_written,
    at_rest,
    conversation,
    csm_server,
    since_greeting,
    speaks,
    written,
)
from tests.hearing import hear, word_errors
from tests.inside import InsideServer
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm
from tests.talk import all_said, answer, greeted, transcripts

# In words that csm-mini knows.
LONG = (
    "Yes, of course. I see two old books on the table, and they have four green cups at home. The "
    "train is near the river, and we need some warm bread this morning. You like the small dogs in "
    "the garden. They want five red letters, and the music is here again tomorrow."
)


@pytest.fixture(scope="module", params=["random", "csm-mini"])
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path | str:
    """A tiny CSM whose frames are 80 ms, as the real one's are; then the one that ships."""
    if request.param != "random":
        return request.param
    csm = tiny_csm(codec_config={"upsampling_ratios": [8, 6, 5, 4]})
    return save_tiny(csm, tmp_path_factory.mktemp("csm"))


@pytest.fixture(scope="module")
def inside(checkpoint: Path | str, _llm) -> Iterator[InsideServer]:
    scripted = {"llm.provider": "openai", "llm.base_url": _llm.url}
    with csm_server(checkpoint, **scripted) as server:
        yield server


async def test_five_turns_are_in_the_history_and_are_read_once(checkpoint, question, remark):
    with csm_server(checkpoint, **{"llm.max_tokens": 4}) as server:
        async with Caller(server.ws_url) as caller:
            await greeted(caller)
            await at_rest(server)
            for turn, speech in enumerate((question, remark, question, remark, question)):
                here, engine = conversation(server), server.engine
                before, read = len(here.history.heard), engine.prefilled_rows
                positions, began_at = here.positions, time.monotonic()
                spoken_at = await answer(caller, speech)
                await at_rest(server)
                said, *answers = here.history.heard[before:]
                assert said.speaker == CALLER, f"turn {turn}"
                assert said.text == " ".join(transcripts(caller, after=began_at))
                # From a little before his first sound to a little after his last.
                assert abs(said.duration_s - len(speech) / 16_000) < 1.2
                assert answers
                assert {segment.speaker for segment in answers} == {AGENT}
                sound, rate = caller.audio_since(spoken_at)
                answered_s = sum(segment.duration_s for segment in answers)
                assert answered_s == pytest.approx(len(sound) / rate, abs=0.1)
                assert as_written(server) == written(server)
                # What was made need not be read; of each sentence but its last frame.
                made = round(answered_s * 12.5)
                grown = here.positions - positions
                assert engine.prefilled_rows - read <= grown - made + 2 * len(answers)
        counted = server.metrics
        assert counted["csm_agent_voice_context_positions_count"] == 6  # the greeting too
        assert counted["csm_agent_voice_rtf_count"] == 6


@pytest.mark.parametrize("seed", range(2))
async def test_barge_ins_anywhere_leave_all_three_agreeing(inside, llm, question, seed):
    chance = random.Random(seed)
    llm.reply = lambda messages: LONG
    async with Caller(inside.ws_url) as caller:
        await greeted(caller)
        await at_rest(inside)
        began_at = time.monotonic()
        await caller.say(question)
        for _ in range(4):
            await speaks(caller, since=began_at)
            # What the reply is conditioned on is what the language model was told.
            assert as_written(inside) == since_greeting(llm.requests[-1])
            await asyncio.sleep(chance.uniform(0.2, 6.0))
            began_at = time.monotonic()
            await caller.say(question)
        llm.reply = lambda messages: "Fine."
        await speaks(caller, since=began_at)
        await caller.message("bot-stopped-speaking", after=began_at + 3)
        await at_rest(inside)
        assert as_written(inside) == written(inside)
        replies = [text for role, text in written(inside)[1:-1] if role == "assistant"]
        assert all(LONG.startswith(text) and text != LONG for text in replies)


async def test_what_is_recognised_late_is_in_the_history_all_the_same(
    inside, llm, question, monkeypatch
):
    """A turn is not held open for ever for its words: they begin another when they come."""
    llm.reply = lambda messages: "It has four."
    whisper = inside.services.whisper
    transcribe = whisper.transcribe

    async def late(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("priority") == "interim":
            raise EngineBusyError("There is no time for captions.")
        await asyncio.sleep(5)
        return await transcribe(*args, **kwargs)

    monkeypatch.setattr(whisper, "transcribe", late)
    async with Caller(inside.ws_url) as caller:
        await greeted(caller)
        await answer(caller, question)
        await at_rest(inside)
        _, said, answered = conversation(inside).history.heard
        assert (said.speaker, answered.speaker) == (CALLER, AGENT)
        assert [said.text] == transcripts(caller)
        assert abs(said.duration_s - len(question) / 16_000) < 2
        assert as_written(inside) == written(inside)


async def test_whisper_may_listen_to_what_was_said(checkpoint, llm, monkeypatch):
    llm.reply = lambda messages: "It has four."
    settings = {"llm.provider": "openai", "llm.base_url": llm.url, "tts.csm.listen_back": True}
    with csm_server(checkpoint, **settings) as server:
        heard = threading.Event()
        whisper = server.services.whisper
        assert whisper is not None
        listen = whisper.words

        async def words(audio: Any) -> Any:
            found = await listen(audio)
            heard.set()
            return found

        monkeypatch.setattr(whisper, "words", words)
        async with Caller(server.ws_url) as caller:
            await greeted(caller)
            await at_rest(server)
            assert as_written(server) == written(server)
        assert heard.is_set()


async def test_typed_words_and_a_spare_voice_are_in_the_context_alone(inside, llm):
    llm.reply = lambda messages: "It has four."
    async with Caller(inside.ws_url) as caller:
        at = await greeted(caller)
        await at_rest(inside)
        await caller.send("send-text", {"content": "How many legs has a dog?"})
        await all_said(caller, after=at)
        await at_rest(inside)
        assert [text for _, text in as_written(inside)] == [f"{GREETING} It has four."]
        assert ("user", "How many legs has a dog?") in written(inside)


async def test_without_weights_the_spare_voice_speaks_and_says_why(tmp_path, llm):
    scripted = {"llm.provider": "openai", "llm.base_url": llm.url}
    with csm_server(tmp_path / "nothing", **scripted) as server:
        async with Caller(server.ws_url) as caller:
            await greeted(caller)
            [news] = [m.data for m in caller.messages if m.data and m.data.get("type") == "voice"]
            assert (news["engine"], news["name"]) == ("kokoro", "Ada")
            assert "nothing" in news["why"]
            audio, rate = caller.audio_since(0)
            assert word_errors(hear(audio, rate), GREETING) <= 0.3


@pytest.mark.browser
async def test_in_a_real_browser_what_it_has_played_decides_what_was_heard(
    inside, llm, question, remark, tmp_path
):
    llm.reply = lambda messages: LONG if len(messages) < 5 else "Fine."
    mic = microphone(tmp_path / "mic.wav", 20, question, 9, remark, 60)
    async with open_page(f"{inside.url}/?transport=websocket", mic) as page:
        await page.get_by_test_id("start").click()
        await expect(page.get_by_test_id("voice")).to_have_text("Ada · CSM")
        agent = page.locator('.line[data-speaker="agent"]')
        cut = page.locator('.line[data-speaker="agent"][data-cut="true"]')
        await expect(cut).to_have_count(1, timeout=60_000)
        await expect(agent.last).to_contain_text("Fine.")
        await expect(page.get_by_test_id("status")).to_have_attribute("data-state", "listening")
        await at_rest(inside)
        assert as_written(inside) == written(inside)
        assert [role for role, _ in written(inside)] == ["assistant", "user"] * 2 + ["assistant"]
        heard = written(inside)[2][1]
        assert LONG.startswith(heard)
        assert 1 <= len(heard.split()) < len(LONG.split()) * 0.8
        # However far its words had run ahead, the caption ends where the conversation does.
        await expect(cut.locator(".text")).to_have_text(f"{heard}—")
