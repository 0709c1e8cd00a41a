"""What compilers make of the step is the step."""

import pytest
import torch
from pipecat_csm.engine.compiling import (
    compiled_step,
    kinds,
    trouble_with_compiler,
    uncompile,
)
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.prompt import text_frames
from pipecat_csm.model.step import step

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path):
    # Of its own, since compiling changes it.
    return load_checkpoint(save_tiny(tiny_csm(num_codebooks=3), tmp_path))


def codes_of(checkpoint, step, sessions: int) -> torch.Tensor:
    runner = Runner(checkpoint.model, slots=3, step=step)
    for slot in range(sessions):
        prompt = text_frames(checkpoint.tokenizer, checkpoint.config, f"I am {slot}.", slot)
        for _ in runner.prefill(slot, cut(prompt, 0, -1), 0):
            pass
        how = SamplingOptions(seed=slot, temperature=0.7)
        runner.begin(slot, cut(prompt, -1), how, segment=0, frames=100)
    return torch.stack([runner.step().codes[:sessions].clone() for _ in range(6)])


def test_a_cpu_has_no_graphs():
    assert kinds(CPU) == ("layers", "max-autotune", "none")
    assert kinds(torch.device("cuda")) == (
        *("graph", "plain-graph", "layers"),
        *("cudagraphs", "max-autotune", "none"),
    )


def test_what_a_device_cannot_have_is_refused_with_what_it_can(checkpoint):
    with pytest.raises(ValueError, match="'graph' is not for cpu; layers, max-autotune, none are"):
        compiled_step(checkpoint.model, "graph")


def test_nothing_is_compiled_where_nothing_is_wanted(checkpoint):
    assert compiled_step(checkpoint.model, "none") is step


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_parts_say_the_same(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    if trouble := trouble_with_compiler(CPU):
        pytest.skip(f"no compiler here: {trouble}")
    expected = [codes_of(checkpoint, step, sessions) for sessions in (1, 2)]
    compiled = compiled_step(checkpoint.model, "layers")
    assert "next_code" in vars(checkpoint.model)
    for sessions, wanted in zip((1, 2), expected, strict=True):
        assert torch.equal(codes_of(checkpoint, compiled, sessions), wanted)
    assert any((tmp_path / "cache").rglob("*.so")), "what was built is kept for the next start"
    uncompile(checkpoint.model)
    assert "next_code" not in vars(checkpoint.model)
    assert checkpoint.model.backbone.layers[0]._compiled_call_impl is None


def test_a_missing_compiler_is_said_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    torch._dynamo.reset()
    trouble = trouble_with_compiler(CPU)
    torch._dynamo.reset()
    assert trouble
    assert "\n" not in trouble
