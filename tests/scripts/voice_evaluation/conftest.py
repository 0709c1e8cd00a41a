"""The script in this process, on the embedded voice and on a tiny CSM."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipecat_csm.wav import WavWriter

from scripts.voice_evaluation.__main__ import main
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm
from tests.recordings import RATE_HZ, spoken

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs scripts/evaluate_voice; exit code, output and errors."""

    def run(*args: str | Path) -> tuple[int, str, str]:
        code = main([str(arg) for arg in args])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CSM with random weights."""
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def short_reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A persona's recording as arguments, cut to the length that a tiny CSM can hold."""
    path = tmp_path_factory.mktemp("reference") / "max.wav"
    with WavWriter(path, RATE_HZ) as file:
        file.write(spoken("max")[0][: RATE_HZ // 2].astype(np.float32))
    return "--reference", str(path), "--reference-text", "What I"


def report_of(*args: str | Path) -> tuple[dict[str, Any], str]:
    """What a run writes to --out, which is the last argument, and what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(arg) for arg in args]) == 0
    return json.loads(Path(args[-1]).read_text()), printed.getvalue()
