"""The embedded language model: the real SmolLM2 behind llama.cpp's server, in its own process."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from openai import AsyncOpenAI, BadRequestError
from pipecat.frames.frames import (
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.tests.utils import run_test

from agent.embedded.llm import HEADERS, MAX_TOKENS, SAMPLING, EmbeddedLLM
from agent.models import ModelError, resolve

SYSTEM = (
    "You are Ada, a friendly voice assistant. Answer in one or two short sentences. Speak plainly, "
    "use no lists and no emoji. If you do not know something, say so."
)
STORY = [{"role": "user", "content": "Tell a very long story."}]


@pytest.fixture(scope="module")
def gguf() -> Path:
    return resolve("smollm2-135m-instruct", "llm")


@pytest.fixture(scope="module")
def llm(gguf: Path) -> Iterator[EmbeddedLLM]:
    llm = EmbeddedLLM(gguf, slots=2, context_per_slot=1024, alias="smol")
    llm.start()
    yield llm
    llm.stop()


@pytest.fixture
async def client(llm: EmbeddedLLM) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=llm.base_url, api_key="none", max_retries=0) as client:
        yield client


async def answer(
    client: AsyncOpenAI, messages: list[Any], slot: int = 0, **options: Any
) -> tuple[str, dict[str, Any]]:
    """The streamed answer, greedily chosen, and llama.cpp's count of what it evaluated."""
    options = {"temperature": 0, "max_tokens": 24, **options}
    stream = await client.chat.completions.create(
        model="smol",
        messages=messages,
        stream=True,
        extra_body={**SAMPLING, "id_slot": slot},
        extra_headers=HEADERS,
        **options,
    )
    text, timings = "", {}
    async for chunk in stream:
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        timings = (chunk.model_extra or {}).get("timings") or timings
    return text, timings


def servers_of(pid: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(pid).children()
        if "agent.embedded.llm_server" in child.cmdline()
    ]


class TestTheEndpoint:
    def test_is_on_loopback_and_ends_in_v1(self, llm):
        url = urlsplit(llm.base_url)
        assert url.hostname == "127.0.0.1"
        assert url.path.endswith("/v1")

    def test_starting_twice_gives_the_same_endpoint(self, llm):
        assert llm.start() == llm.base_url

    @pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/health", "/slots"])
    def test_answers_nobody_who_does_not_know_its_secret(self, llm, path):
        url = urlsplit(llm.base_url)
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(f"http://{url.netloc}{path}", timeout=10)
        assert refusal.value.code == 404

    def test_lets_no_page_of_another_origin_read(self, llm):
        headers = {"Origin": "http://elsewhere.example"}
        request = urllib.request.Request(f"{llm.base_url}/models", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            assert not response.headers["Access-Control-Allow-Origin"]

    async def test_names_the_model_by_its_alias_and_not_by_its_path(self, client):
        assert [model.id async for model in client.models.list()] == ["smol"]

    def test_two_models_choose_two_ports(self, llm, gguf):
        other = EmbeddedLLM(gguf, slots=1, context_per_slot=256, threads=1)
        try:
            assert urlsplit(other.start()).port != urlsplit(llm.base_url).port
        finally:
            other.stop()


class TestAnswers:
    async def test_stream_word_by_word(self, client):
        stream = await client.chat.completions.create(
            model="smol",
            messages=[{"role": "user", "content": "Say hello."}],
            stream=True,
            max_tokens=12,
        )
        pieces = [c.choices[0].delta.content async for c in stream if c.choices]
        assert len([piece for piece in pieces if piece]) > 1

    async def test_four_at_once_do_not_mix(self, client):
        prompts = [
            f"Repeat after me exactly: {words}"
            for words in ("the red apple falls", "seven blue boats", "my dog Otto", "it is Tuesday")
        ]
        alone = [
            (await answer(client, [{"role": "user", "content": prompt}]))[0] for prompt in prompts
        ]
        together = await asyncio.gather(
            *(
                answer(client, [{"role": "user", "content": prompt}], slot=number % 2)
                for number, prompt in enumerate(prompts)
            )
        )
        assert [text for text, _ in together] == alone
        assert len(set(alone)) == len(prompts)

    async def test_end_by_themselves_where_a_request_sets_no_end(self, client):
        _, timings = await answer(client, STORY, max_tokens=None)
        assert 24 < timings["predicted_n"] <= MAX_TOKENS

    async def test_many_in_a_row_all_come(self, client):
        """The server closes each stream's connection, which a kept one would stumble over."""
        for _ in range(60):
            text, _ = await answer(client, [{"role": "user", "content": "Hi."}], max_tokens=1)
            assert text

    async def test_a_prompt_longer_than_the_context_is_refused_and_the_next_is_answered(
        self, client
    ):
        with pytest.raises(BadRequestError, match="context"):
            await answer(client, [{"role": "user", "content": "word " * 2000}])
        text, _ = await answer(client, [{"role": "user", "content": "Say hello."}])
        assert text

    async def test_come_through_pipecats_service(self, llm):
        service = OpenAILLMService(
            base_url=llm.base_url,
            api_key="none",
            settings=OpenAILLMService.Settings(
                model="smol",
                system_instruction=SYSTEM,
                max_tokens=12,
                extra=llm.request_options(0),
            ),
        )
        context = LLMContext([{"role": "user", "content": "Hello."}])
        down, _ = await run_test(service, frames_to_send=[LLMContextFrame(context)])
        kinds = [type(frame) for frame in down]
        assert LLMTextFrame in kinds
        assert kinds.index(LLMFullResponseStartFrame) < kinds.index(LLMTextFrame)
        assert LLMFullResponseEndFrame in kinds


class TestAConversation:
    async def test_evaluates_only_the_new_words_of_each_turn(self, client):
        messages = [{"role": "system", "content": SYSTEM}]
        evaluated = []
        for question in ("Hello there.", "What is the capital of France?", "And of Italy?"):
            messages.append({"role": "user", "content": question})
            text, timings = await answer(client, messages)
            messages.append({"role": "assistant", "content": text})
            evaluated.append((timings["cache_n"], timings["prompt_n"]))
        for (cached, new), (before, added) in zip(evaluated[1:], evaluated, strict=False):
            assert cached >= before + added
            # The question, the template around it, and the end of the last answer.
            assert new < 30

    async def test_keeps_its_prompt_while_another_speaks_the_same_words(self, client):
        """Without slots of their own they would take each other's, turn by turn."""
        talks = [[{"role": "system", "content": SYSTEM}] for _ in range(2)]
        new_tokens = []
        for question in ("Hello there.", "What is the colour of the sky?", "And of the sea?"):
            for slot, messages in enumerate(talks):
                messages.append({"role": "user", "content": question})
                text, timings = await answer(client, messages, slot)
                messages.append({"role": "assistant", "content": f"{text} {slot}"})
                new_tokens.append(timings["prompt_n"])
        assert max(new_tokens[2:]) < 30

    async def test_warming_up_leaves_a_first_caller_only_his_own_words(self, gguf):
        llm = EmbeddedLLM(gguf, slots=2, context_per_slot=512)
        try:
            llm.start()
            await asyncio.to_thread(llm.warm_up, SYSTEM)
            async with AsyncOpenAI(base_url=llm.base_url, api_key="none") as client:
                messages = [
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": "What can you do?"},
                ]
                for slot in range(2):
                    _, timings = await answer(client, messages, slot)
                    assert timings["prompt_n"] < 20 < timings["cache_n"]
        finally:
            llm.stop()

    def test_takes_the_slot_that_the_fewest_hold(self, gguf):
        llm = EmbeddedLLM(gguf, slots=2)
        assert [llm.take_slot() for _ in range(3)] == [0, 1, 0]
        llm.leave_slot(1)
        assert llm.take_slot() == 1
        assert llm.request_options(1) == {
            "extra_body": {**SAMPLING, "id_slot": 1},
            "extra_headers": {"Connection": "close"},
        }

    def test_needs_a_slot(self, gguf):
        with pytest.raises(ValueError, match="at least 1"):
            EmbeddedLLM(gguf, slots=0)


class TestBargeIn:
    @pytest.mark.parametrize("how", ["close", "cancel"])
    async def test_a_caller_who_hangs_up_stops_the_answer(self, client, how):
        """The slot is free again while an answer that began with it is still being written."""
        started = [asyncio.Event(), asyncio.Event()]

        async def tell(slot: int) -> None:
            stream = await client.chat.completions.create(
                model="smol",
                messages=STORY,  # type: ignore[arg-type]
                stream=True,
                max_tokens=900,
                extra_body={"ignore_eos": True, "id_slot": slot},
                extra_headers=HEADERS,
            )
            async with stream:
                async for _ in stream:
                    started[slot].set()
                    if how == "close" and slot == 0 and started[1].is_set():
                        return

        heard, other = asyncio.create_task(tell(0)), asyncio.create_task(tell(1))
        await asyncio.gather(*(event.wait() for event in started))
        if how == "cancel":
            heard.cancel()
        await asyncio.wait([heard])
        await answer(client, [{"role": "user", "content": "Hello."}], max_tokens=4)
        assert not other.done()
        other.cancel()
        await asyncio.wait([other])


class TestStopping:
    async def test_while_an_answer_is_being_written(self, gguf):
        llm = EmbeddedLLM(gguf, slots=1, context_per_slot=1024)
        llm.start()
        server = servers_of(os.getpid())[-1]
        async with AsyncOpenAI(base_url=llm.base_url, api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="smol",
                messages=STORY,  # type: ignore[arg-type]
                stream=True,
                max_tokens=900,
                extra_body={"ignore_eos": True},
            )
            await anext(aiter(stream))
            await asyncio.to_thread(llm.stop)
            assert not server.is_running()
            with pytest.raises(Exception, match=r"peer closed|[Cc]onnection"):
                async for _ in stream:
                    pass
        assert llm.base_url is None

    def test_twice_does_nothing_and_a_new_start_serves_again(self, gguf):
        llm = EmbeddedLLM(gguf, slots=1, context_per_slot=256)
        llm.stop()
        first = llm.start()
        llm.stop()
        llm.stop()
        try:
            assert llm.start() != first
            llm.warm_up()
        finally:
            llm.stop()

    def test_leaves_no_process_and_no_thread(self, gguf):
        before = {child.pid for child in servers_of(os.getpid())}
        threads = psutil.Process().num_threads()
        llm = EmbeddedLLM(gguf, slots=1, context_per_slot=256)
        llm.start()
        llm.stop()
        assert {child.pid for child in servers_of(os.getpid())} == before
        assert psutil.Process().num_threads() <= threads

    def test_ctrl_c_in_the_terminal_does_not_reach_the_server(self, llm):
        """It goes to the foreground process group; live turns still need the model."""
        groups = {os.getpgid(server.pid) for server in servers_of(os.getpid())}
        assert groups
        assert os.getpgid(0) not in groups

    def test_ctrl_c_is_still_the_agents_own(self, llm):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_the_server_dies_with_the_agent(self, gguf):
        code = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from agent.embedded.llm import EmbeddedLLM\n"
            "llm = EmbeddedLLM(Path(sys.argv[1]), slots=1, context_per_slot=256)\n"
            "llm.start()\n"
            "print(llm._process.pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        agent = subprocess.run(
            [sys.executable, "-c", code, str(gguf)], capture_output=True, text=True, timeout=60
        )
        assert agent.returncode == -signal.SIGKILL
        pid = int(agent.stdout)
        if psutil.pid_exists(pid):
            psutil.Process(pid).wait(20)
        assert not psutil.pid_exists(pid)


class TestRefusals:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            EmbeddedLLM(tmp_path / "none.gguf").start()

    def test_a_file_that_is_no_gguf(self, tmp_path):
        path = tmp_path / "page.gguf"
        path.write_bytes(b"<html>")
        with pytest.raises(ModelError, match=r"page\.gguf is not a GGUF file"):
            EmbeddedLLM(path).start()

    @pytest.mark.parametrize("length", [4, 3_000, 20_000_000])
    def test_a_half_file(self, gguf, tmp_path, length):
        path = tmp_path / "half.gguf"
        with gguf.open("rb") as whole:
            path.write_bytes(whole.read(length))
        llm = EmbeddedLLM(path)
        with pytest.raises(ModelError, match=r"half\.gguf is damaged or only half there") as caught:
            llm.start()
        assert "\n" not in str(caught.value)
        assert llm.base_url is None

    def test_a_damaged_header(self, gguf, tmp_path):
        path = tmp_path / "flipped.gguf"
        content = bytearray(gguf.read_bytes())
        content[100_000:105_000] = b"\xff" * 5_000
        path.write_bytes(content)
        with pytest.raises(ModelError, match="damaged or only half there"):
            EmbeddedLLM(path).start()

    def test_warming_up_before_starting(self, gguf):
        with pytest.raises(ModelError, match=r"call start\(\) first"):
            EmbeddedLLM(gguf).warm_up()

    def test_warming_up_a_server_that_died(self, gguf):
        llm = EmbeddedLLM(gguf, slots=1, context_per_slot=256)
        llm.start()
        try:
            server = servers_of(os.getpid())[-1]
            server.kill()
            server.wait(20)
            with pytest.raises(ModelError, match="server stopped"):
                llm.warm_up()
        finally:
            llm.stop()
