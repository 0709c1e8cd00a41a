"""`pipecat eval run` against the real server: every scenario of the folder passes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evals.door import EvaluatedServer
from tests.scripted_llm import Message, ScriptedLLM

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted((Path(__file__).resolve().parent / "scenarios").glob("*.yaml"))
STORY = (
    "The old bridge was closed all winter, so everyone walked along the river. Nobody complained "
    "about the cold. Children played on the ice, and old people talked in the sun. In spring the "
    "bridge was open, and they never closed it again."
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def reply(messages: list[Message]) -> str:
    """What a good model would say, from nothing but what the agent shows it."""
    asked = messages[-1]["content"].lower()
    if "long story" in asked:
        return STORY
    if "capital of france" in asked:
        return "It is Paris."
    if "how much" in asked:
        told = " ".join(m["content"] for m in messages if m["role"] == "assistant")
        has_begun, has_ended = STORY[:14] in told, "never closed" in told
        return "You heard half of it." if has_begun and not has_ended else "I forgot."
    if "what is my name" in asked:
        said = " ".join(m["content"] for m in messages[:-1] if m["role"] == "user")
        return f"Your name is {'Robin' if 'Robin' in said else 'unknown to me'}."
    return "It is nice to meet you."


@pytest.fixture(scope="module")
def server() -> Iterator[EvaluatedServer]:
    # Slow enough to be interrupted while it writes.
    with ScriptedLLM(reply=reply, token_s=0.05) as llm:
        scripted = {"llm.provider": "openai", "llm.base_url": llm.url, "turn.silence_s": 1.0}
        server = EvaluatedServer(**scripted)
        with server:
            yield server


def run_eval(server: EvaluatedServer, folder: Path, scenarios: Path) -> tuple[int, str]:
    """The harness, in a process and a folder of its own; its exit code and what it printed."""
    command = Path(sys.executable).with_name("pipecat")
    options = ["--bot-url", server.eval_url, "--cache-dir", folder, "--logs-dir", folder]
    done = subprocess.run(
        [command, "eval", "run", scenarios, *options, "--verbose"],
        # The factories are found from the root.
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("scenarios", SCENARIOS, ids=lambda path: path.stem)
def test_it_passes(server: EvaluatedServer, tmp_path: Path, scenarios: Path):
    code, printed = run_eval(server, tmp_path, scenarios)
    assert code == 0, printed


def test_what_is_not_said_does_not_pass(server: EvaluatedServer, tmp_path: Path):
    scenarios = tmp_path / "wrong.yaml"
    scenarios.write_text(
        "name: wrong\nscenarios:\n  - name: text\n    turns:\n      - user: What is my name?\n"
        "        expect: [{event: response, text_contains: Robin, within_ms: 3000}]\n"
    )
    code, printed = run_eval(server, tmp_path, scenarios)
    assert code != 0
    assert "wrong/text" in printed
    assert "does not contain 'Robin'" in printed
