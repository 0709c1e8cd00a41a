"""llama.cpp's server in its own process, with the real SmolLM2: who may ask, and what comes."""

import asyncio
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from openai import BadRequestError
from pipecat.frames.frames import (
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.tests.utils import run_test

from agent.embedded.llm import HEADERS, MAX_TOKENS, EmbeddedLLM
from tests.agent.embedded.llm_talk import STORY, SYSTEM, answer


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
        words = ("red apple", "blue boat", "old dog", "tall tree")
        together = await asyncio.gather(
            *(answer(client, echoing(two), slot=n % 2) for n, two in enumerate(words))
        )
        for two, (text, _) in zip(words, together, strict=True):
            said = text.lower()
            assert two in said
            assert not any(other in said for other in words if other != two)

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


def echoing(words: str) -> list[dict[str, str]]:
    """A conversation in which even a tiny model repeats what was said last."""
    turns = []
    for said in ("green hat", "warm bread", "small cat"):
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": said}]
    return [*turns, {"role": "user", "content": words}]
