"""The real models, loaded once for all tests that only use them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from agent.embedded.kokoro import Kokoro
from agent.embedded.llm import EmbeddedLLM
from agent.models import resolve


@pytest.fixture(scope="session")
def kokoro_path() -> Path:
    """The ONNX file of Kokoro."""
    return resolve("kokoro-82m", "tts")


@pytest.fixture(scope="session")
def kokoro(kokoro_path: Path) -> Iterator[Kokoro]:
    """A warm voice."""
    kokoro = Kokoro(kokoro_path)
    kokoro.warm_up()
    yield kokoro
    kokoro.close()


@pytest.fixture(scope="session")
def gguf() -> Path:
    """The file of SmolLM2."""
    return resolve("smollm2-135m-instruct", "llm")


@pytest.fixture(scope="module")
def llm(gguf: Path) -> Iterator[EmbeddedLLM]:
    """A language model of two slots, in its own process."""
    llm = EmbeddedLLM(gguf, slots=2, context_per_slot=1024, alias="smol")
    llm.start()
    yield llm
    llm.stop()


@pytest.fixture
async def client(llm: EmbeddedLLM) -> AsyncIterator[AsyncOpenAI]:
    """A client of `llm`."""
    async with AsyncOpenAI(base_url=llm.base_url, api_key="none", max_retries=0) as client:
        yield client
