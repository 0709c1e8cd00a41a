"""Where the kernels come from, and what happens where they cannot come."""

import logging
import multiprocessing
import shutil
import stat
import sys
from pathlib import Path

import pytest
import torch
from pipecat_csm.errors import CSMError
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.native import NativeTransformer, accelerate, library
from pipecat_csm.model.native.library import BuildError, load
from pipecat_csm.model.quantize import Int8Linear, quantize

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("c++", "g++", "clang++")),
    reason="there is no C++ compiler",
)


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    library.kernels.cache_clear()
    yield
    library.kernels.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny"))


def script(path: Path, body: str) -> str:
    """An executable that stands in for a compiler."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_compiler
def test_it_is_built_once(tmp_path, monkeypatch):
    load(tmp_path)
    (kept,) = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    monkeypatch.setattr(library, "_build", lambda *_: pytest.fail("built anew"))
    assert load(tmp_path).csm_linear
    assert kept.stat().st_mtime_ns == before


@needs_compiler
def test_what_is_built_serves_without_a_compiler(tmp_path, monkeypatch):
    load(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert load(tmp_path).csm_linear


@needs_compiler
def test_other_sources_are_another_library(tmp_path, monkeypatch):
    load(tmp_path)
    sources = tmp_path / "sources"
    shutil.copytree(library._SOURCES, sources)
    with (sources / "simd.h").open("a") as file:
        file.write("// changed\n")
    monkeypatch.setattr(library, "_SOURCES", sources)
    load(tmp_path)
    assert len(list(tmp_path.glob("*.so"))) == 2


@needs_compiler
def test_what_is_kept_but_broken_is_built_anew(tmp_path):
    load(tmp_path / "whole")
    (whole,) = (tmp_path / "whole").iterdir()
    broken = tmp_path / "broken" / whole.name
    broken.parent.mkdir()
    broken.write_text("no library")
    assert load(broken.parent).csm_linear
    assert broken.read_bytes() == whole.read_bytes()


def _load_and_say(folder: Path, answers) -> None:
    answers.put(bool(load(folder).csm_linear))


@needs_compiler
def test_two_processes_may_build_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_load_and_say, args=(tmp_path, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    assert all(answers.get(timeout=150) for _ in processes)
    for process in processes:
        process.join()
    assert [path.suffix for path in tmp_path.iterdir()] == [".so"], "and nothing half done"


@needs_compiler
def test_a_folder_that_cannot_be_written_is_done_without(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert load(file / "folder").csm_linear
    assert load(None).csm_linear


def test_without_a_compiler_a_sentence_says_what_to_install(no_compiler, tmp_path):
    with pytest.raises(BuildError, match="apt install g\\+\\+"):
        load(tmp_path / "cache")


def test_a_compiler_that_fails_is_named(tmp_path, monkeypatch):
    broken = script(tmp_path / "broken", "echo 'error: out of cheese' >&2; exit 1")
    monkeypatch.setenv("CXX", broken)
    with pytest.raises(BuildError, match=r"broken fails .*out of cheese"):
        load(None)


def test_a_compiler_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(tmp_path / "nowhere"))
    with pytest.raises(BuildError, match="nowhere does not run"):
        load(None)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a shell's way with files")
def test_a_compiler_that_builds_nonsense_is_named(tmp_path, monkeypatch):
    nonsense = script(tmp_path / "odd", 'for last; do :; done; echo nonsense > "$last"')
    monkeypatch.setenv("CXX", nonsense)
    with pytest.raises(BuildError, match="odd built cannot be loaded"):
        load(None)


def test_without_a_compiler_torch_quantises(no_compiler, folder, caplog):
    model = load_checkpoint(folder, dtype=torch.bfloat16).model
    with caplog.at_level(logging.WARNING):
        quantize(model, "int8")
        assert not accelerate(model)
    (said,) = caplog.messages
    assert "apt install g++" in said
    assert any(isinstance(module, Int8Linear) for module in model.modules())


@needs_compiler
def test_torch_quantises_where_it_is_asked_to(folder):
    model = load_checkpoint(folder, dtype=torch.bfloat16).model
    quantize(model, "int8", native=False)
    assert any(isinstance(module, Int8Linear) for module in model.modules())
    assert not any(isinstance(module, NativeTransformer) for module in model.modules())


def test_a_model_of_another_dtype_is_refused(folder):
    model = load_checkpoint(folder, dtype=torch.float32).model
    with pytest.raises(CSMError, match="in bfloat16, not one on cpu in float32"):
        accelerate(model)
