"""One real server for most end-to-end tests, on a language model that says what the test wants."""

import json
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest

from tests.caller import load_speech
from tests.live_server import LiveServer
from tests.scripted_llm import ScriptedLLM, echo
from tests.talk import DATA

# Whole conversations in real time, by where they stand: they must find the machine free whenever
# they need it. `scripts/test` runs them one after another, and all else behind them.
_CONVERSATIONS = (
    "tests/agent/test_services",
    "tests/e2e/test_browser",
    "tests/e2e/test_conversation",
    "tests/e2e/test_csm",
    "tests/e2e/test_page_playout",
    "tests/e2e/test_studio.py::test_from_a_recording_to_a_conversation",
    "tests/e2e/test_studio.py::test_a_conversation_goes_on_while_a_recording_is_listened_to",
    "tests/e2e/test_studio.py::test_a_voice_that_is_removed_while_it_speaks",
    "tests/evals",
    "tests/faults/test_callers",
    "tests/faults/test_llm_restart",
    "tests/faults/test_webrtc",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks whole conversations, and has files with slow tests begin.

    Where one process is done, it takes over what is left of the other's: that must not be one long
    test.
    """
    for item in items:
        if item.nodeid.startswith(_CONVERSATIONS):
            item.add_marker(pytest.mark.conversation)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(400))  # over a minute on a quick machine
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_own_personas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have personas; they are none of the tests' business."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("CSM_AGENT__PERSONAS_DIR", raising=False)
        yield


@pytest.fixture(scope="session")
def _llm() -> Iterator[ScriptedLLM]:
    with ScriptedLLM() as llm:
        yield llm


@pytest.fixture
def llm(_llm: ScriptedLLM) -> Iterator[ScriptedLLM]:
    """The scripted language model behind `server`; it is in order again after each test."""
    _llm.requests.clear()
    yield _llm
    _llm.reply, _llm.mode = echo, "ok"


@pytest.fixture(scope="session")
def _server(_llm: ScriptedLLM) -> Iterator[LiveServer]:
    with LiveServer(
        LLM__PROVIDER="openai", LLM__BASE_URL=_llm.url, LLM__TIMEOUT_S="3", TURN__SILENCE_S="1.0"
    ) as server:
        yield server


@pytest.fixture
def server(_server: LiveServer) -> LiveServer:
    """The real server with every model but the language model real, and every line free."""
    # A WebRTC caller who is gone is missed only after a while.
    for _ in range(600):
        with urllib.request.urlopen(f"{_server.url}/readyz") as response:
            if json.load(response)["live_sessions"] == 0:
                return _server
        time.sleep(0.1)
    raise AssertionError("the calls of an earlier test have not ended")


@pytest.fixture(scope="session")
def question() -> np.ndarray:
    """`QUESTION`, float32 [samples] at 16 kHz."""
    return load_speech(DATA / "question.flac")


@pytest.fixture(scope="session")
def remark() -> np.ndarray:
    """`REMARK`, by another voice, float32 [samples] at 16 kHz."""
    return load_speech(DATA / "remark.flac")
