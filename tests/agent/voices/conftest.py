"""The real models that listen to recordings, loaded once."""

from collections.abc import Iterator

import pytest

from agent.models import resolve
from agent.voices.encoder import SpeakerEncoder
from agent.voices.examining import Examiner


@pytest.fixture(scope="session")
def examiner() -> Iterator[Examiner]:
    """Whisper tiny.en and the speaker encoder."""
    examiner = Examiner.load("tiny.en")
    yield examiner
    examiner.close()


@pytest.fixture(scope="session")
def encoder() -> SpeakerEncoder:
    """The speaker encoder alone."""
    return SpeakerEncoder(resolve("resemblyzer", "speaker"))
