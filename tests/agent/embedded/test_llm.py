"""The embedded language model: its slots, what they know, and how it starts and stops."""

import asyncio
import os

import pytest
from openai import AsyncOpenAI

from agent.embedded.llm import SAMPLING, EmbeddedLLM
from agent.models import ModelError
from tests.agent.embedded.llm_talk import SYSTEM, answer, servers_of


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
        opening, other = (
            [{"role": "system", "content": prompt}, {"role": "assistant", "content": "Hello!"}]
            for prompt in (SYSTEM, SYSTEM.replace("You are Ada", "I am Max"))
        )
        llm = EmbeddedLLM(gguf, slots=2, context_per_slot=512)
        try:
            llm.start()
            await asyncio.to_thread(llm.warm_up, opening, [other])
            async with AsyncOpenAI(base_url=llm.base_url, api_key="none") as client:
                for slot, known in ((0, opening), (1, opening), (1, other)):
                    messages = [*known, {"role": "user", "content": "What can you do?"}]
                    _, timings = await answer(client, messages, slot)
                    assert timings["prompt_n"] < 20 < timings["cache_n"]
        finally:
            llm.stop()

    async def test_whose_prompt_is_too_long_stops_nobody_else(self, gguf):
        llm = EmbeddedLLM(gguf, slots=1, context_per_slot=256)
        try:
            llm.start()
            too_long = [{"role": "system", "content": "word " * 500}]
            await asyncio.to_thread(llm.warm_up, others=[too_long])
            async with AsyncOpenAI(base_url=llm.base_url, api_key="none") as client:
                assert (await answer(client, [{"role": "user", "content": "Hello."}]))[0]
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


class TestStopping:
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


class TestRefusals:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            EmbeddedLLM(tmp_path / "none.gguf").start()

    def test_a_file_that_is_no_gguf(self, tmp_path):
        path = tmp_path / "page.gguf"
        path.write_bytes(b"<html>")
        with pytest.raises(ModelError, match=r"page\.gguf is not a GGUF file"):
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
