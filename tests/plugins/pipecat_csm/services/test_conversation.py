"""A reply is made so far ahead of its playing, whatever sentences it has."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pipecat_csm.engine import engine as engine_module
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import SamplingOptions
from pipecat_csm.engine.session import Session
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import CSMError, EngineClosedError
from pipecat_csm.services import conversation as conversation_module
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.playout import Playout

FRAME_S = 0.08
LEAD_S = 1.6


@pytest.fixture
async def conversation(engine: Engine, voices):
    conversation = CSMConversation(engine, playout=Playout(0.0), lead_s=LEAD_S)
    await conversation.open(voices["ada"], SamplingOptions(temperature=0.7, top_k=50, seed=1))
    yield conversation
    await conversation.close()


async def say_all_but(conversation: CSMConversation, unsent_s: float) -> int:
    """Says a sentence to its end, with its last seconds unsent; returns its frames."""
    speech, begins_s = await conversation.speak("This is the first sentence.", "turn")
    assert begins_s == 0
    frames = 0
    while await asyncio.to_thread(speech.take) is not None:
        frames += 1
        ahead_s = frames * FRAME_S - conversation.playout.sent_s("turn")
        if ahead_s > unsent_s:
            conversation.sent("turn", ahead_s - unsent_s)
    conversation.spoken("turn", "This is the first sentence.", speech, frames, lambda _: "This")
    return frames


async def made_at_rest(speech: Speech) -> int:
    """As many frames as there are when no more come for a while."""
    made, quiet_s = speech.made, 0.0
    while quiet_s < 1:  # in small steps: a machine that stands still does so during one of them
        await asyncio.sleep(0.05)
        quiet_s = 0.0 if speech.made > made else quiet_s + 0.05
        made = speech.made
    return made


async def until(condition: Callable[[], object]) -> None:
    """Waits for something that nobody announces."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (nobody announces it)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("unsent_s", [0.0, 0.8, 1.52])
async def test_what_waits_of_the_first_sentence_counts_for_the_second(conversation, unsent_s):
    frames = await say_all_but(conversation, unsent_s)
    assert frames * FRAME_S > unsent_s
    second, begins_s = await conversation.speak("And this is the second of them.", "turn")
    assert begins_s == pytest.approx(frames * FRAME_S)
    made = await made_at_rest(second)
    room = round((LEAD_S - unsent_s) / FRAME_S)
    # One may be under way when it becomes known.
    assert made in {room, room + 1}, second.ending
    for _ in range(made):
        second.take()
    conversation.sent("turn", unsent_s + 0.4)
    assert await made_at_rest(second) > made


async def test_a_second_sentence_goes_on_though_all_was_sent_while_it_began(conversation):
    frames = await say_all_but(conversation, LEAD_S - FRAME_S)
    begun = asyncio.create_task(conversation.speak("And this is the second of them.", "turn"))
    await asyncio.sleep(0)
    conversation.sent("turn", frames * FRAME_S - conversation.playout.sent_s("turn"))
    second, _ = await begun
    assert await made_at_rest(second) >= LEAD_S // FRAME_S


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_slot_that_is_taken_while_the_conversation_ends_is_given_back(
    engine, voices, monkeypatch, cancelled
):
    conversation, taken, go = CSMConversation(engine), threading.Event(), threading.Event()
    free, open_session = engine.occupancy.open, engine.open_session

    def slow(*args: Any) -> Session:
        session = open_session(*args)
        taken.set()
        assert go.wait(10)
        return session

    monkeypatch.setattr(engine, "open_session", slow)
    opening = asyncio.create_task(conversation.open(voices["ada"], SamplingOptions()))
    await asyncio.to_thread(taken.wait)
    if cancelled:
        opening.cancel()
    closing = asyncio.create_task(conversation.close())
    await asyncio.sleep(0.05)
    go.set()
    await closing
    await asyncio.wait({opening})
    assert engine.occupancy.open == free
    assert not conversation.alive
    with pytest.raises(EngineClosedError, match="over"):
        await conversation.open(voices["ada"], SamplingOptions())


async def test_threads_end_with_the_conversation(engine, voices):
    def threads() -> set[str]:
        return {t.name for t in threading.enumerate() if t.name.startswith("csm-")}

    before = threads()
    conversation = CSMConversation(engine)
    await conversation.open(voices["ada"], SamplingOptions())
    assert threads() > before
    await conversation.close()
    conversation.follow()
    await until(lambda: threads() == before)


async def test_an_engine_that_hangs_is_said_to_and_nobody_waits_for_it(engine, monkeypatch):
    monkeypatch.setattr(conversation_module, "_BEGINS_S", 0.2)
    monkeypatch.setattr(engine_module, "_HANGS_S", 0.2)
    conversation = CSMConversation(engine)
    await conversation.open([], SamplingOptions())
    await until(lambda: conversation.alive)
    goes_on = threading.Event()
    engine._calls.put(lambda: goes_on.wait(60) and None)
    try:
        with pytest.raises(CSMError, match="hangs"):
            await conversation.speak("Hello.", "turn")
        await until(lambda: not conversation.alive)
    finally:
        goes_on.set()
    await until(lambda: conversation.alive and engine.occupancy.speaking == 0)
    await conversation.close()
