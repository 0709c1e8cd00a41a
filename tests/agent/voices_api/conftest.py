"""The server as a page asks it to make personas, and a recording."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pipecat_whisper import WhisperEngine

from agent.calls import Calls
from agent.metrics import Metrics
from agent.models import resolve
from agent.persona import load_personas
from agent.server import create_app
from agent.services import Services
from agent.settings import Settings
from tests.recordings import RATE_HZ, silence, spoken, write

MAX, WORDS = spoken("max")
CONSENT = "It is my own voice; I recorded it for this agent."
LICENCE = "For my own use only."


@pytest.fixture(scope="module")
def whisper() -> Iterator[WhisperEngine]:
    engine = WhisperEngine(resolve("tiny.en", "whisper"))
    yield engine
    engine.close()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of one's own personas; it does not exist yet."""
    return tmp_path / "personas"


def calls_of(whisper: WhisperEngine | None, own: Path, **server: object) -> tuple[Calls, Settings]:
    settings = Settings.model_validate({"server": server, "personas_dir": str(own)})
    personas = load_personas()
    services = Services(settings, personas)
    services._whisper = whisper
    calls = Calls(settings, personas, services, Metrics())
    calls.ready = True
    return calls, settings


def client_of(whisper: WhisperEngine | None, own: Path, **server: object) -> TestClient:
    calls, settings = calls_of(whisper, own, **server)
    return TestClient(create_app(settings, calls, calls._metrics), base_url="http://localhost")


@pytest.fixture
def client(whisper, own) -> Iterator[TestClient]:
    with client_of(whisper, own) as client:
        yield client


def bytes_of(tmp_path: Path, samples: np.ndarray, name: str = "a.wav", rate_hz: int = RATE_HZ):
    return write(tmp_path / name, samples, rate_hz).read_bytes()


@pytest.fixture
def mine(tmp_path) -> bytes:
    """A recording as people make them: a bit quiet, with silence around the words."""
    return bytes_of(tmp_path, np.concatenate([silence(1), 0.4 * MAX, silence(1)]), rate_hz=48_000)


def examine(client: TestClient, data: bytes, first: str | None = None) -> dict:
    answer = client.post("/api/recordings", content=data, params={"first": first} if first else {})
    assert answer.status_code == 200, answer.text
    return answer.json()


def wanted(*recordings: dict, **more: object) -> dict:
    return {
        "name": "bob",
        "display_name": "Bob",
        "recordings": [
            {"recording": one["recording"], "text": one["transcript"]} for one in recordings
        ],
        "consent": CONSENT,
        "licence": LICENCE,
        **more,
    }


def refusal(answer) -> str:
    body = answer.json()
    assert isinstance(body["error"], str)
    return body["error"]
