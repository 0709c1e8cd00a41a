"""What only a GPU can show: a frame is one launch, and what compilers make of it is the same."""

from collections import Counter

import pytest
import torch
from pipecat_csm.engine.compiling import kinds, trouble_with_compiler
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.loading import ready_runner
from pipecat_csm.model.checkpoint import Checkpoint, load_checkpoint
from pipecat_csm.model.prompt import text_frames

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CUDA = torch.device("cuda")
STEPS = 20


@pytest.fixture
def load(tmp_path):
    """Checkpoints of their own, since compiling changes them."""
    folder = save_tiny(tiny_csm(), tmp_path)
    return lambda device="cuda": load_checkpoint(folder, device=device, dtype=torch.float64)


def start(runner: Runner, checkpoint: Checkpoint, slots: int) -> None:
    for slot in range(slots):
        prompt = text_frames(checkpoint.tokenizer, checkpoint.config, f"I am {slot}.", slot)
        for _ in runner.prefill(slot, cut(prompt, 0, -1), 0):
            pass
        how = SamplingOptions(seed=slot)
        runner.begin(slot, cut(prompt, -1), how, segment=0, frames=10_000)


def codes_of(runner: Runner, checkpoint: Checkpoint, slots: int) -> torch.Tensor:
    start(runner, checkpoint, slots)
    return torch.stack([runner.step().codes[:slots].cpu() for _ in range(STEPS)])


@pytest.mark.parametrize("kind", kinds(CUDA))
@pytest.mark.parametrize("slots", [1, 3])
def test_every_way_to_compile_says_the_same(load, kind, slots):
    if kind in ("graph", "layers", "max-autotune") and (trouble := trouble_with_compiler(CUDA)):
        pytest.skip(f"no compiler here: {trouble}")
    torch._dynamo.reset()
    on_cpu = load("cpu")
    expected = codes_of(Runner(on_cpu.model, slots=3), on_cpu, slots)
    checkpoint = load()
    # One span is enough: a way that compiles the whole step takes long for each.
    runner = ready_runner(checkpoint.model, kind, sessions=3)
    assert torch.equal(codes_of(runner, checkpoint, slots), expected)


def test_a_frame_is_one_launch(load):
    checkpoint = load()
    runner = ready_runner(checkpoint.model, "graph", sessions=2)
    start(runner, checkpoint, 2)
    runner.step()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(STEPS):
            runner.step()
        torch.cuda.synchronize()
    calls = Counter({event.key: event.count for event in profile.key_averages()})
    assert calls["cudaGraphLaunch"] == STEPS
    assert calls["cudaLaunchKernel"] == calls["cuLaunchKernel"] == 0


def test_the_engine_speaks_with_graphs(load):
    checkpoint = load()
    runner = ready_runner(checkpoint.model, "graph", sessions=1)
    with Engine(runner, checkpoint.tokenizer) as engine, engine.open_session() as session:
        speech = session.speak("Hello there.", 0, max_frames=200, watch=False)
        speech.wait()
        assert speech.made > 0


def test_the_state_lies_where_it_lay(load):
    checkpoint = load()
    runner = ready_runner(checkpoint.model, "graph", sessions=2)
    start(runner, checkpoint, 2)
    runner.step()
    torch.cuda.synchronize()
    where = [tensor.data_ptr() for tensor in runner.state.tensors()]
    memory = torch.cuda.memory_allocated()
    for _ in range(1000):
        runner.truncate(0, 40)
        runner.truncate(1, 40)
        runner.step()
    torch.cuda.synchronize()
    assert [tensor.data_ptr() for tensor in runner.state.tensors()] == where
    assert torch.cuda.memory_allocated() <= memory
