"""All layers in one call: the same as torch's layers, within what rounding makes of it."""

import copy

import pytest
import torch
from pipecat_csm.model.config import RopeConfig, TransformerConfig
from pipecat_csm.model.native import NativeTransformer
from pipecat_csm.model.native.packing import FORMATS
from pipecat_csm.model.transformer import KVCache, Transformer

POSITIONS = 80
ROPE = RopeConfig(500_000.0, 32.0, 1.0, 4.0, 64)
# hidden, intermediate, layers, heads, kv_heads, head_dim; the last ones fit no block or group.
SHAPES = {
    "whole": (256, 512, 2, 8, 2, 64),
    "odd": (24, 40, 3, 6, 2, 12),
    "no groups": (20, 28, 1, 3, 3, 6),
    "one key": (32, 64, 2, 8, 1, 16),
}
# What rounding the rows to 8 bits adds up to; bfloat16 rounds them to as many, of another kind.
WITHIN = {"bfloat16": 0.01, "int8": 0.02, "int4": 0.02}


def make(shape: str) -> Transformer:
    config = TransformerConfig(*SHAPES[shape], 1e-5, POSITIONS, ROPE)
    generator = torch.manual_seed(0)
    transformer = Transformer(config)
    for name, parameter in transformer.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.data.normal_(std=parameter.shape[1] ** -0.5, generator=generator)
    transformer.requires_grad_(False).bfloat16().finish()
    return transformer


def exact(original: Transformer, native: NativeTransformer) -> Transformer:
    """torch's layers of the rounded weights, in float64."""
    layers: list = list(original.layers)
    for layer, rounded in zip(layers, native.dequantized(), strict=True):
        layer.attention.qkv.weight.data = rounded["qkv"]
        layer.attention.out.weight.data = rounded["out"]
        layer.mlp.gate_up.weight.data = rounded["gate_up"]
        layer.mlp.down.weight.data = rounded["down"]
    cos, sin = original.cos, original.sin
    original.double()
    original.cos, original.sin = cos.double(), sin.double()
    return original


def filled(config: TransformerConfig, slots: int, dtype=torch.bfloat16) -> KVCache:
    """A cache of noise."""
    cache = KVCache.empty(config, slots, POSITIONS, "cpu", dtype)
    generator = torch.manual_seed(1)
    for part in (cache.keys, cache.values):
        part.copy_(torch.randn(part.shape, generator=generator).bfloat16())
    return cache


def rows(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.manual_seed(2)).bfloat16()


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (3, 1), (2, 2), (2, 5), (1, 16), (1, 64)])
def test_it_is_what_torch_makes_of_the_rounded_weights(kernels, form, shape, batch, time):
    original = make(shape)
    native = NativeTransformer(copy.deepcopy(original), form)
    config, reference = original.config, exact(original, native)
    x = rows(batch, time, config.hidden_size)
    positions = torch.tensor([3, 11, 0])[:batch, None] + torch.arange(time)
    keep = torch.ones(batch, time, dtype=torch.bool)
    ours, theirs = filled(config, batch), filled(config, batch, torch.float64)
    found = native.over_slots(x, ours, positions, keep, POSITIONS)
    wanted = reference.over_slots(x.double(), theirs, positions, keep, POSITIONS)
    assert distance(found, wanted) < WITHIN[form]
    assert distance(ours.keys, theirs.keys) < WITHIN[form]
    assert distance(ours.values, theirs.values) < WITHIN[form]


@pytest.mark.parametrize("shape", SHAPES)
def test_in_a_step_all_rows_stand_at_the_same_position(kernels, shape):
    original = make(shape)
    native = NativeTransformer(copy.deepcopy(original), "bfloat16")
    config, reference = original.config, exact(original, native)
    ours, theirs = filled(config, 3), filled(config, 3, torch.float64)
    for position, time in ((0, 2), (2, 1), (3, 1)):
        x = rows(3, time, config.hidden_size)
        found = native.in_step(x, ours, position)
        wanted = reference.in_step(x.double(), theirs, position)
        assert found.shape == wanted.shape
        assert distance(found, wanted) < WITHIN["bfloat16"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_slot_is_the_same_whatever_is_beside_it(kernels, form):
    native = NativeTransformer(make("whole"), form)
    config = native.config
    x, positions = rows(5, 3, config.hidden_size), torch.tensor([0, 7, 60, 2, 33])[:, None]
    positions, keep = positions + torch.arange(3), torch.ones(5, 3, dtype=torch.bool)
    together = filled(config, 5)
    found = native.over_slots(x, together, positions, keep, POSITIONS)
    for slot in range(5):
        alone, only = filled(config, 5), slice(slot, slot + 1)
        one = native.over_slots(
            x[only], alone.rows(slot, 1), positions[only], keep[only], POSITIONS
        )
        assert torch.equal(one, found[only])
        assert torch.equal(alone.keys[:, slot], together.keys[:, slot])


@pytest.mark.parametrize("form", FORMATS)
def test_read_at_once_or_row_by_row_is_the_same(kernels, form):
    native = NativeTransformer(make("whole"), form)
    x = rows(1, 37, native.config.hidden_size)
    at_once, by_rows = filled(native.config, 1), filled(native.config, 1)
    positions, keep = torch.arange(37)[None], torch.ones(1, 37, dtype=torch.bool)
    found = native.over_slots(x, at_once, positions, keep, POSITIONS)
    steps = [
        native.over_slots(x[:, [p]], by_rows, positions[:, [p]], keep[:, [p]], POSITIONS)
        for p in range(37)
    ]
    assert torch.equal(torch.cat(steps, dim=1), found)
    assert torch.equal(at_once.keys, by_rows.keys)
    assert torch.equal(at_once.values, by_rows.values)


def test_rows_that_are_not_kept_leave_no_trace(kernels):
    native = NativeTransformer(make("whole"), "int4")
    x, positions = rows(2, 8, native.config.hidden_size), torch.arange(8).expand(2, -1)
    keep = torch.arange(8) < torch.tensor([[5], [0]])
    cache, before = filled(native.config, 2), filled(native.config, 2)
    found = native.over_slots(x, cache, positions, keep, POSITIONS)
    assert not found[~keep].any()
    assert torch.equal(cache.keys[:, 0, 5:], before.keys[:, 0, 5:])
    assert torch.equal(cache.keys[:, 1], before.keys[:, 1])
    assert torch.equal(cache.values[:, 1], before.values[:, 1])
    shorter = filled(native.config, 2).rows(0, 1)
    alone = native.over_slots(x[:1, :5], shorter, positions[:1, :5], keep[:1, :5], POSITIONS)
    assert torch.equal(alone, found[:1, :5])


def test_nothing_behind_a_row_is_seen(kernels):
    native = NativeTransformer(make("whole"), "int8")
    x, keep = rows(1, 1, native.config.hidden_size), torch.ones(1, 1, dtype=torch.bool)
    found = []
    for noise in (0.0, 1e3):
        cache = filled(native.config, 1)
        cache.keys[:, :, 21:] = noise
        cache.values[:, :, 21:] = noise
        found.append(native.over_slots(x, cache, torch.tensor([[20]]), keep, 64))
    assert torch.equal(*found)


def test_it_takes_the_weights_from_the_original(kernels):
    original = make("odd")
    NativeTransformer(original, "int4")
    assert len(original.layers) == 0


def test_a_copy_stands_on_its_own(kernels):
    native = NativeTransformer(make("odd"), "int4")
    x, keep = rows(1, 1, 24), torch.ones(1, 1, dtype=torch.bool)
    twin, at = copy.deepcopy(native), torch.tensor([[0]])
    found = native.over_slots(x, filled(native.config, 1), at, keep, 64)
    native.weights.zero_()
    assert torch.equal(twin.over_slots(x, filled(twin.config, 1), at, keep, 64), found)
