"""Sessions leave nothing behind: memory after fifty of them is what it was after five."""

import asyncio

import psutil
import pytest

from tests.caller import Caller
from tests.talk import answer, greeted


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_memory_after_fifty_sessions_is_what_it_was_after_five(server, llm, question):
    llm.reply = lambda messages: "Yes."
    process = psutil.Process(server.process.pid)

    async def session(*, with_turn: bool) -> None:
        async with Caller(f"{server.ws_url}?persona=max") as caller:
            if with_turn:
                await greeted(caller)
                await answer(caller, question)
            else:
                await caller.message("bot-started-speaking")

    for _ in range(5):
        await session(with_turn=True)
    after_five = await at_rest(process)
    threads = process.num_threads()
    # Most hang up as soon as they hear the agent: that is as many sessions in less time.
    for i in range(45):
        await session(with_turn=i % 9 == 0)
    await session(with_turn=True)
    grown = await at_rest(process) / after_five - 1
    print(f"memory grew by {grown:.1%} from {after_five / 1e6:.0f} MB over 46 sessions")
    assert grown <= 0.05
    assert process.num_threads() <= threads + 2


async def at_rest(process: psutil.Process) -> int:
    """Resident bytes once the last call has been cleared away, which takes it a moment."""
    lowest = process.memory_info().rss
    for _ in range(30):
        await asyncio.sleep(0.1)
        lowest = min(lowest, process.memory_info().rss)
    return lowest
