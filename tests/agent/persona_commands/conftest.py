"""The persona commands on a folder of personas of one's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of one's own personas; it does not exist yet."""
    return tmp_path / "personas"


@pytest.fixture
def persona(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs `csm-agent persona ACTION ...` in an empty folder; exit code, output and errors."""
    monkeypatch.setenv("CSM_AGENT__PERSONAS_DIR", str(own))
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> tuple[int, str, str]:
        code = main(["persona", *map(str, args)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run
