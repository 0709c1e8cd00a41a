"""The real voice model, loaded once for all tests of the embedded voice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.embedded.kokoro import Kokoro
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
