"""A frame's codes in one call, and whole models whose matrices are packed."""

import copy

import pytest
import torch
from pipecat_csm.engine.compiling import compiled_step
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.native import NativeTransformer, accelerate
from pipecat_csm.model.native.packing import FORMATS
from pipecat_csm.model.prompt import text_frames
from pipecat_csm.model.quantize import quantize
from pipecat_csm.model.sampling import Draw, Sampling
from pipecat_csm.model.state import StepState
from pipecat_csm.model.step import step
from pipecat_csm.model.transformer import KVCache

from tests.plugins.pipecat_csm.tiny import SHAPES, save_tiny, tiny_csm

SLOTS = 5


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    """Tiny checkpoints in bfloat16."""
    found = {}

    def load(shape: str):
        if shape not in found:
            folder = save_tiny(tiny_csm(**SHAPES[shape]), tmp_path_factory.mktemp("tiny"))
            found[shape] = load_checkpoint(folder, dtype=torch.bfloat16)
        return found[shape]

    return load


def packed(checkpoint, form: str) -> CSMModel:
    model = copy.deepcopy(checkpoint.model)
    assert accelerate(model, form)  # type: ignore[arg-type]
    return model


def draws(frame: int) -> Draw:
    """A slot of each kind: greedy, top-k, all codes, min-p, and one that does not run."""
    how = Sampling(
        temperature=torch.tensor([0.0, 0.9, 1.3, 0.7, 0.9]),
        top_k=torch.tensor([0, 5, 0, 8, 5]),
        min_p=torch.tensor([0.0, 0.0, 0.0, 0.2, 0.0]),
        key=torch.arange(2 * SLOTS).view(SLOTS, 2) * 0x1234567 % 2**32,
    )
    running = torch.tensor([True, True, True, True, False])
    return Draw(how, torch.full((SLOTS,), frame), running, 1 << 20)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", ["small", "odd"])
def test_a_frame_is_what_its_parts_make(kernels, loaded, form, shape):
    model = packed(loaded(shape), form)
    config = model.config
    cache = KVCache.empty(config.depth, SLOTS, config.codebooks, "cpu", torch.bfloat16)
    seen = set()
    for frame in range(40):
        hidden = torch.randn(
            SLOTS, config.backbone.hidden_size, generator=torch.manual_seed(frame)
        ).bfloat16()
        draw = draws(frame)
        # A plain function is not known to the one call, so it gets part after part.
        expected = model.codes_of_frame(hidden, cache, lambda *args, draw=draw: draw(*args))
        found = model.codes_of_frame(hidden, cache, draw)
        assert torch.equal(found[:-1], expected[:-1])
        assert not found[-1].any(), "a slot that does not run has no codes"
        seen.update(found[2].tolist())
    assert len(seen) > 8, "it draws"


def started(checkpoint, model: CSMModel, slots=(0, 2), run=step) -> Runner:
    """A runner in which these slots begin to speak."""
    runner = Runner(model, slots=4, step=run)
    for slot in slots:
        prompt = text_frames(checkpoint.tokenizer, checkpoint.config, f"Slot {slot}.", slot)
        for _ in runner.prefill(slot, cut(prompt, 0, -1), 0):
            pass
        how = SamplingOptions(temperature=0.8, top_k=8, seed=4)
        runner.begin(slot, cut(prompt, -1), how, segment=0, frames=1000)
    return runner


def codes_of(runner: Runner, slot: int, steps: int) -> torch.Tensor:
    return torch.stack([runner.step().codes[slot].clone() for _ in range(steps)])


@pytest.mark.parametrize("form", FORMATS)
def test_a_session_says_the_same_alone_or_beside_others(kernels, loaded, form):
    checkpoint = loaded("small")
    model = packed(checkpoint, form)
    alone = codes_of(started(checkpoint, model, slots=(2,)), 2, 12)
    beside = codes_of(started(checkpoint, model, slots=(0, 1, 2, 3)), 2, 12)
    assert torch.equal(alone, beside)


def test_a_context_says_the_same_resident_or_read_anew(kernels, loaded):
    checkpoint = loaded("small")
    model = packed(checkpoint, "int4")
    prompt = text_frames(checkpoint.tokenizer, checkpoint.config, "It was said before.", 0)
    found = []
    for parts in ([len(prompt.tokens) - 1], [3, 1, 9]):
        runner, at = Runner(model, slots=1), 0
        for size in [*parts, len(prompt.tokens) - 1 - sum(parts)]:
            for _ in runner.prefill(0, cut(prompt, at, at + size), at) if size else ():
                pass
            at += size
        runner.begin(0, cut(prompt, -1), SamplingOptions(seed=1), segment=0, frames=99)
        found.append(codes_of(runner, 0, 8))
    assert torch.equal(*found)


def test_the_step_is_one_graph_still(kernels, loaded):
    checkpoint = loaded("small")
    model = packed(checkpoint, "int8")
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="eager", dynamic=False)
    expected = codes_of(started(checkpoint, model), 0, 6)
    assert torch.equal(codes_of(started(checkpoint, model, run=compiled), 0, 6), expected)
    torch._dynamo.reset()


def test_there_is_nothing_left_to_compile(kernels, loaded):
    assert compiled_step(packed(loaded("small"), "int8"), "layers") is step


def test_quantised_models_take_the_kernels(kernels, loaded):
    model = copy.deepcopy(loaded("small").model)
    quantize(model, "int4")
    assert isinstance(model.backbone, NativeTransformer)
    assert model.backbone.form == "int4"


def test_the_state_stays_where_it_is(kernels, loaded):
    checkpoint = loaded("small")
    runner = started(checkpoint, packed(checkpoint, "int4"))
    state: StepState = runner.state
    kept = [state.kv.keys, state.depth.keys, state.codes, state.input, state.position]
    before = [tensor.data_ptr() for tensor in kept]
    for _ in range(20):
        runner.step()
    assert [tensor.data_ptr() for tensor in kept] == before


def test_the_bfloat16_kernels_say_nearly_what_torch_says(kernels, loaded):
    checkpoint = loaded("small")
    model = packed(checkpoint, "bfloat16")
    runners = [started(checkpoint, which) for which in (checkpoint.model, model)]
    for cache in ("keys", "values"):
        # All but the bin, into which torch writes, and the kernels do not.
        theirs, ours = (getattr(r.state.kv, cache)[:, :, :-1].float() for r in runners)
        assert (ours - theirs).norm() < 0.02 * theirs.norm()
