"""scripts/bench_csm for real, at the tests' tiny shape: every row, on a lean Python."""

import json
import math
import os
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from pipecat_csm.model.native.library import kernels

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What a machine has that was lent to be measured: torch's image, and nothing of ours installed.
LEAN = ("torch", "transformers", "tokenizers", "numpy", "safetensors")
BLOCKER = """
import sys
from importlib.machinery import PathFinder


class Lean(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            return None
        return super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Lean
"""
# They need a C++ compiler.
NATIVE = ["native"] if kernels() else []
# One of every row, as few times as can be. "graph" needs CUDA: a form that fails.
FEW = (
    *("--tiny", "--device", "cpu", "--variants", "layers", "graph", *NATIVE),
    *("--frames", "3", "--repeats", "1", "--session-frames", "3", "--max-sessions", "2"),
    *("--reference-frames", "3"),
)


def needed_by(names: tuple[str, ...]) -> set[str]:
    """These distributions, and all that they need."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except ModuleNotFoundError:
            continue  # for another platform
        parsed = [Requirement(line) for line in lines]
        wanted += [r.name for r in parsed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python, and of those that it starts, without any other package."""
    allowed = needed_by(LEAN)
    blocked = {
        module
        for module, names in packages_distributions().items()
        if not any(name.lower().replace("_", "-") in allowed for name in names)
    } - {"pipecat_csm", "scripts", "tests"}
    folder = tmp_path_factory.mktemp("lean")
    (folder / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
    # What a compiler would build is not what is tested here, and takes minutes.
    quick = {"TORCH_COMPILE_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **quick, "PYTHONPATH": str(folder), "PYTHON": sys.executable}


def bench(*words: str | Path, env: dict[str, str]) -> str:
    """Runs the script; what it printed."""
    script = ROOT / "scripts" / "bench_csm"
    done = subprocess.run(
        [script, *words], env=env, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT.parent
    )
    return done.stdout


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run writes."""
    return tmp_path_factory.mktemp("out") / "csm.json"


@pytest.fixture(scope="module")
def report(lean: dict[str, str], out: Path) -> dict[str, Any]:
    """What the run printed."""
    return json.loads(bench(*FEW, "--json", "--out", out, env=lean))


@pytest.mark.parametrize("name", ["pipecat", "soxr", "torchaudio", "fastapi"])
def test_a_lean_python_lacks_what_the_bench_does_not_need(name, lean):
    words = [sys.executable, "-c", f"import {name}"]
    done = subprocess.run(words, env=lean, capture_output=True, text=True)
    assert f"No module named '{name}'" in done.stderr


def test_every_row_is_there_the_most_important_first(report):
    contexts = (0, 500, 1500)
    ours = [
        ("start", None),
        *(("frame", context) for context in contexts),
        ("work", None),
        ("memory", None),
    ]
    transformers = [
        *(("first audio", context) for context in (0, 500)),
        *(("frame", context) for context in (0, 500)),
        ("memory", None),
    ]
    expected = [
        ("layers", "frame", "floor"),
        ("layers", "start", None),
        *(("layers", "frame", context) for context in contexts),
        *(("layers", "first audio", context) for context in contexts),
        ("layers", "work", None),
        ("layers", "rebuild", 1024),
        ("layers", "memory", None),
        *(("transformers, eager", *row) for row in transformers),
        ("layers", "sessions", None),
        ("layers", "sessions", None),
        ("layers", "sustained", None),
        ("transformers, static", "start", None),
        *(("transformers, static", *row) for row in transformers),
        ("graph", "start", None),
        *((variant, *row) for variant in NATIVE for row in ours),
        ("layers", "start", None),
    ]
    rows = report["rows"]
    floor = {**rows[0], "what": "layers", "positions": "floor"}
    found = [(r["what"], r["section"], r.get("positions")) for r in (floor, *rows[1:])]
    assert found == expected
    assert report["left_out"] == ["frames, graph", "work, graph", "memory, graph"]


def test_every_row_has_figures(report):
    keys = {
        "frame": {"ms", "rtf", "bytes"},
        "first audio": {"positions", "anew_ms"},
        "start": {"cold_s"},
        "work": {"operators", "bytes"},
        "rebuild": {"alone_ms", "live_ms", "usual_ms", "gap_ms", "copy_ms"},
        "memory": {"peak_bytes"},
        "sessions": {"sessions", "ms", "p99_ms", "holds"},
        "sustained": {"sessions"},
    }
    for row in report["rows"]:
        if row["what"] == "graph":
            continue
        figures = {k: v for k, v in row.items() if k not in ("section", "what", "note")}
        assert keys[row["section"]] <= figures.keys(), row
        assert all(math.isfinite(value) and value >= 0 for value in figures.values()), row
        assert all(row[key] > 0 for key in ("ms", "anew_ms", "bytes") if key in row), row


def test_a_frame_is_compared_with_real_time_and_with_the_floor(report):
    floor, *frames = (r for r in report["rows"] if r["section"] == "frame" and "ms" in r)
    for frame in frames:
        assert frame["rtf"] == pytest.approx(frame["ms"] / 80, abs=1e-3)
        least_ms = frame["bytes"] / floor["bytes_per_s"] * 1e3
        assert frame["times_floor"] == pytest.approx(frame["ms"] / least_ms, rel=1e-3)


def test_a_form_that_fails_says_why_and_the_others_go_on(report):
    (row,) = (row for row in report["rows"] if row["what"] == "graph")
    assert row["note"].startswith("failed: ValueError: 'graph' is not for cpu")


def test_the_file_holds_what_was_printed(report, out):
    assert json.loads(out.read_text()) == report


def test_the_tables_of_a_file_are_printed(report, out, lean):
    text = bench("--table", out, env=lean)
    assert report["machine"] in text
    assert "Left out, for want of time: frames, graph;" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert sum(len(table) - 2 for table in tables) == len(report["rows"])
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    lines = [line for table in tables for line in table]
    for row in report["rows"]:
        assert any(line.startswith(f"| {row['what']} |") for line in lines)


def test_what_is_running_when_the_time_is_up_is_stopped_and_the_rest_left_out(lean, tmp_path):
    endless = ("--tiny", "--device", "cpu", "--variants", "none", "--frames", "1000000")
    out = tmp_path / "csm.json"
    bench(*endless, "--budget", "0.4", "--out", out, env=lean)
    left_out = json.loads(out.read_text())["left_out"]
    assert "frames, none, stopped after 16 s" in left_out
    assert any(label.startswith("memory, none") for label in left_out)


def test_with_no_time_nothing_is_begun(lean):
    words = ("--tiny", "--device", "cpu", "--variants", "none", "--budget", "0", "--json")
    report = json.loads(bench(*words, env=lean))
    assert report["rows"] == []
    assert report["left_out"][0] == "floor, none"
    assert "sessions, none" in report["left_out"]
    assert "transformers, static" in report["left_out"]
