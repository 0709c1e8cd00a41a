"""A generator is ready to speak, compiled where that can be had, and says so where it cannot."""

import pytest
import torch
from pipecat_csm import load_csm_1b, loading
from pipecat_csm.engine.compiling import uncompile
from pipecat_csm.errors import DeviceError
from pipecat_csm.loading import ready_runner
from pipecat_csm.model.native.library import kernels
from pipecat_csm.model.step import step

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("csm"))


@pytest.fixture
def model(pair):
    return pair("small", torch.float32).checkpoint.model


def test_a_cpu_compiles_nothing_unless_asked(folder):
    told: list[str] = []
    with load_csm_1b(
        "cpu", checkpoint=folder, progress=lambda what, done, total: told.append(what)
    ) as generator:
        assert len(generator.generate("Hello.", 0, max_audio_length_ms=400)) > 0
    assert set(told) == {"loading"}


@pytest.mark.parametrize("compile", [None, True])
def test_on_a_cpu_quantised_weights_are_read_by_our_own_kernels(folder, compile, monkeypatch):
    if kernels() is None:
        pytest.skip("no compiler here")
    # Inductor is not even asked.
    monkeypatch.setattr(loading, "trouble_with_compiler", lambda device: pytest.fail("asked"))
    with load_csm_1b("cpu", checkpoint=folder, quantize="int4", compile=compile) as generator:
        assert generator.checkpoint.model.whole_frame is not None
        assert len(generator.generate("Hello.", 0, max_audio_length_ms=400)) > 0
        uncompile(generator.checkpoint.model)


def test_without_compiling_torchs_kernels_read_them(folder):
    with load_csm_1b("cpu", checkpoint=folder, quantize="int8", compile=False) as generator:
        assert generator.checkpoint.model.whole_frame is None
        assert len(generator.generate("Hello.", 0, max_audio_length_ms=400)) > 0


def test_what_is_compiled_is_warmed_up_before_anybody_speaks(model, monkeypatch):
    steps: list[int] = []

    def compiled(model, state, *, span, most):
        steps.append(len(state.position))
        step(model, state, span=span, most=most)

    monkeypatch.setattr(loading, "trouble_with_compiler", lambda device: None)
    monkeypatch.setattr(loading, "compiled_step", lambda model, kind: compiled)
    told: list[tuple[str, int, int]] = []
    ready_runner(
        model, "layers", sessions=2, spares=1, progress=lambda *progress: told.append(progress)
    )
    # Four spans each; the spare slot never speaks.
    assert steps == [2] * 4 + [1] * 4
    assert told[0] == ("compiling", 0, 11)
    assert told[-1] == ("compiling", 11, 11)


def test_without_a_compiler_it_goes_on_and_says_what_would_help(model, monkeypatch, caplog):
    monkeypatch.setattr(loading, "trouble_with_compiler", lambda device: "no g++")
    runner = ready_runner(model, "layers", sessions=1)
    assert runner.slots == 1
    (record,) = caplog.records
    assert "no compiler works here (no g++)" in record.message
    assert "apt install g++" in record.message


def test_what_fails_to_be_built_is_done_without(model, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("ptxas is in a bad mood\nand a long trace")

    monkeypatch.setattr(loading, "trouble_with_compiler", lambda device: None)
    monkeypatch.setattr(loading, "compiled_step", lambda model, kind: broken)
    runner = ready_runner(model, "layers", sessions=1)
    runner.warm_up()
    (record,) = caplog.records
    assert record.message.endswith("slower: ptxas is in a bad mood")


def test_too_little_memory_is_said_with_what_to_do(folder, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    monkeypatch.setattr(loading, "Runner", full)
    with pytest.raises(DeviceError, match=r"cpu has not enough memory .* 100 sessions; take fewer"):
        load_csm_1b("cpu", checkpoint=folder, max_sessions=100)


@pytest.mark.parametrize("device", ["cudo", "cuda:99", "", "mtia", "meta"])
def test_a_device_that_is_not_there_is_one_sentence(folder, device):
    with pytest.raises(
        DeviceError, match=f"The device '{device}' cannot be used here: .*"
    ) as error:
        load_csm_1b(device, checkpoint=folder)
    assert "\n" not in str(error.value)


def test_a_way_to_compile_that_the_device_has_not_is_refused_at_once(tmp_path):
    with pytest.raises(DeviceError, match="compile='graph' is not for cpu; layers"):
        load_csm_1b("cpu", checkpoint=tmp_path / "not there", compile="graph")
