"""The example runs as its README says, on nothing but a recording and a model."""

import subprocess
import sys
from pathlib import Path

import pipecat_whisper

from tests.plugins.pipecat_whisper.speech import DATA

EXAMPLE = Path(pipecat_whisper.__file__).with_name("example.py")


def example(recording: Path, model: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLE, recording, "--model", model],
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_prints_the_words_of_a_recording(model: Path):
    done = example(DATA / "question.flac", model)
    assert done.returncode == 0
    assert "--> Can you tell me what the capital of France is?" in done.stdout


def test_it_says_what_is_wrong_with_a_model(tmp_path: Path):
    done = example(DATA / "question.flac", tmp_path)
    assert done.returncode == 1
    assert "lacks model.bin" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_says_what_is_wrong_with_a_recording(model: Path, tmp_path: Path):
    (tmp_path / "notes.wav").write_text("no sound in here")
    done = example(tmp_path / "notes.wav", model)
    assert done.returncode == 1
    assert "cannot be read as sound" in done.stderr
    assert "Traceback" not in done.stderr
