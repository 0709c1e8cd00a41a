"""A language model's server that dies comes back at the same address, unless it dies too often."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from loguru import logger
from openai import AsyncOpenAI

from agent.embedded.llm import EmbeddedLLM
from agent.embedded.llm_supervisor import LLMSupervisor
from agent.restarts import RestartLimit
from tests.agent.embedded.llm_talk import STORY, SYSTEM, answer, servers_of

OPENING = [{"role": "system", "content": SYSTEM}]


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(line.record["message"]), level="INFO")
    yield lines
    logger.remove(sink)


@pytest.fixture
def llm(gguf) -> Iterator[EmbeddedLLM]:
    """A warm language model that is the test's own, to be killed."""
    llm = EmbeddedLLM(gguf, slots=2, context_per_slot=512, alias="smol")
    llm.start()
    llm.warm_up(OPENING)
    yield llm
    llm.stop()


def new_servers(before: set[int]) -> list[psutil.Process]:
    return [server for server in servers_of(os.getpid()) if server.pid not in before]


def log_threads() -> int:
    return sum(thread.name == "llama.cpp log" for thread in threading.enumerate())


def kill() -> psutil.Process:
    """Kills the server that was started last."""
    server = servers_of(os.getpid())[-1]
    server.kill()
    return server


def until(wanted: Callable[[], object], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not wanted():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class TestADeadServer:
    async def test_comes_back_warm_at_the_same_address(self, llm, log):
        url, threads = llm.base_url, log_threads()
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="smol",
                messages=STORY,  # type: ignore[arg-type]
                stream=True,
                max_tokens=400,
                extra_body={"ignore_eos": True},
            )
            await anext(aiter(stream))
            dead = kill()
            await asyncio.to_thread(until, lambda: not llm.alive)
            with pytest.raises(Exception, match=r"peer closed|[Cc]onnection"):
                async for _ in stream:
                    pass
            with pytest.raises(Exception, match=r"[Cc]onnection"):
                await answer(client, STORY)
            await asyncio.to_thread(until, lambda: llm.alive)
            assert llm.base_url == url
            for slot in range(2):
                messages = [*OPENING, {"role": "user", "content": "What can you do?"}]
                text, timings = await answer(client, messages, slot)
                assert text
                assert timings["prompt_n"] < 20 < timings["cache_n"]
        assert not psutil.pid_exists(dead.pid), "no zombie is left"
        await asyncio.to_thread(until, lambda: log_threads() == threads)
        assert log == [
            "The language model's server has died; starting it again in 1 s.",
            "The language model's server is back.",
        ]

    def test_comes_back_a_second_time(self, llm):
        for _ in range(2):
            kill()
            until(lambda: not llm.alive)
            until(lambda: llm.alive)

    def test_stays_dead_when_it_dies_too_often(self, gguf, tmp_path, log):
        path = tmp_path / "gone.gguf"
        path.symlink_to(gguf)
        before = {server.pid for server in servers_of(os.getpid())}
        wanted = EmbeddedLLM(path, slots=1, context_per_slot=256)._wanted()
        supervisor = LLMSupervisor(wanted, lambda: None, RestartLimit(2, first_pause_s=0.05))
        supervisor.start()
        try:
            path.unlink()
            kill()
            until(lambda: "stays down" in log[-1] if log else False)
            assert not supervisor.alive
            assert not new_servers(before)
            assert log[0].startswith("The language model's server has died; starting it again")
            assert log[1].startswith("The language model's server did not come back: gone.gguf")
            assert log[2].endswith(
                "; after 2 restarts within 10 minutes it stays down until csm-agent is restarted."
            )
            assert len(log) == 3
        finally:
            supervisor.stop()


class TestStoppingDuringARestart:
    # In the pause before it; while the process starts and loads; while it warms up.
    @pytest.mark.parametrize("after_s", [0.3, 1.01, 1.2, 1.6, 2.2])
    def test_ends_at_once_and_leaves_nothing(self, llm, after_s):
        before = {server.pid for server in servers_of(os.getpid())[:-1]}
        threads = log_threads()
        kill()
        until(lambda: not llm.alive)
        time.sleep(after_s)
        started = time.monotonic()
        llm.stop()
        # A process that loads its model does not listen, and is given two seconds.
        assert time.monotonic() - started < 2.5
        assert log_threads() == threads - 1
        time.sleep(1.5)
        assert not new_servers(before)
        assert not llm.alive
