"""The step can be captured: no reads by the host, no branches on data, the same addresses."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.model.checkpoint import Checkpoint
from pipecat_csm.model.prompt import text_frames
from pipecat_csm.model.state import StepState
from pipecat_csm.model.step import step
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[4]
HOW = SamplingOptions(temperature=0.8, top_k=8, min_p=0.02, seed=4)


class NoReads(TorchDispatchMode):
    """Fails on what makes a host wait for a device, or a shape depend on data."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        assert not any(word in name for word in self.FORBIDDEN), f"{name} in a step"
        return func(*args, **(kwargs or {}))


def tensors(state) -> list[torch.Tensor]:
    """Every tensor of a state, whatever it is nested in."""
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, list | tuple):
        return [t for part in state for t in tensors(part)]
    if isinstance(state, StepState) or hasattr(state, "__dataclass_fields__"):
        return [t for name in state.__dataclass_fields__ for t in tensors(getattr(state, name))]
    return []


def started(pair, step=step, dtype=torch.float64, frames=10_000) -> Runner:
    checkpoint = pair("small", dtype).checkpoint
    runner = Runner(checkpoint.model, slots=4, step=step)
    start_two(runner, checkpoint, frames)
    return runner


def start_two(runner: Runner, checkpoint: Checkpoint, frames: int) -> None:
    """Slots 0 and 2 begin to speak."""
    for slot in (0, 2):
        prompt = text_frames(checkpoint.tokenizer, checkpoint.config, f"Slot {slot}.", slot)
        for _ in runner.prefill(slot, cut(prompt, 0, -1), 0):
            pass
        runner.begin(slot, cut(prompt, -1), HOW, segment=0, frames=frames)


def codes_of(runner: Runner, steps: int) -> torch.Tensor:
    return torch.stack([runner.step().codes.clone() for _ in range(steps)])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_whole_step_is_one_graph(pair, backend):
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend=backend, dynamic=False)
    assert torch.equal(codes_of(started(pair, compiled), 12), codes_of(started(pair), 12))
    torch._dynamo.reset()


def test_no_step_reads_anything_back(pair):
    runner = started(pair)
    with NoReads():
        for _ in range(20):
            runner.step()


def test_the_guard_against_reads_would_notice_one():
    with NoReads(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        torch.ones(1).item()


def test_the_state_stays_where_it_is(pair):
    runner = started(pair)
    before = [t.data_ptr() for t in tensors(runner.state)]
    assert len(before) > 20
    runner.step()
    gc.collect()
    alive = count_tensors()
    for _ in range(1000):
        runner.truncate(0, 40)
        runner.truncate(2, 40)
        runner.step()
    gc.collect()
    assert [t.data_ptr() for t in tensors(runner.state)] == before
    assert count_tensors() <= alive


GROWTH = """
import sys, tempfile
import psutil, torch
from pipecat_csm.engine.runner import Runner
from pipecat_csm.model.checkpoint import load_checkpoint
from tests.plugins.pipecat_csm.model.test_step import start_two
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

torch.set_num_threads(1)
# As little as has all the kinds of memory that there are.
few = {"num_hidden_layers": 1}
csm = tiny_csm(num_codebooks=2, **few, depth_decoder_config=few, codec_config=few)
checkpoint = load_checkpoint(save_tiny(csm, tempfile.mkdtemp()))
runner = Runner(checkpoint.model, slots=4)
start_two(runner, checkpoint, frames=100_000)

def steps(count):
    for _ in range(count):
        runner.truncate(0, 40)
        runner.truncate(2, 40)
        runner.step()
    return psutil.Process().memory_info().rss

before = steps(500)
print(steps(10_000) - before)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_grows_over_10_000_frames():
    # In a process of its own: what else a test run allocates is its own affair.
    result = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert int(result.stdout.split()[-1]) < 5e6


def count_tensors() -> int:
    # By type: other tests leave weak proxies of what is no more, which cannot be asked.
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_a_slot_that_does_not_run_is_left_alone(pair):
    def remembered(state: StepState) -> list[torch.Tensor]:
        kept = ("position", "input", "frame", "last_frame", "codes", "audio")
        cache = [part[:, 1, :-1] for part in (state.kv.keys, state.kv.values)]
        return [getattr(state, name)[1].clone() for name in kept] + [c.clone() for c in cache]

    runner, undisturbed = started(pair), started(pair)
    prompt = text_frames(
        pair().checkpoint.tokenizer, runner.model.config, "Slot 1, which waits.", 1
    )
    for either in (runner, undisturbed):
        for _ in either.prefill(1, cut(prompt, 0, -1), 0):
            pass
        either.begin(1, cut(prompt, -1), HOW, segment=0, frames=100)
        codes_of(either, 3)
        either.pause(1)
    before = remembered(runner.state)
    codes_of(runner, 5)
    for old, new in zip(before, remembered(runner.state), strict=True):
        assert torch.equal(old, new)
    sounds = []
    for either in (runner, undisturbed):
        either.resume(1)
        sounds.append(torch.stack([either.step().audio[1].clone() for _ in range(9)]))
    assert torch.equal(*sounds), "the codec's state neither"


def test_the_bucket_does_not_matter(pair):
    narrow, wide = started(pair), started(pair)
    wide.pause(2)
    lone = torch.stack([wide.step().codes[0].clone() for _ in range(10)])
    both = torch.stack([narrow.step().codes[0].clone() for _ in range(10)])
    assert torch.equal(lone, both)
