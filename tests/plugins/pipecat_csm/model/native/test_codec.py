"""The codec's decoder in one call: what transformers' MimiModel gives, as torch's layers do."""

import copy
from typing import Any

import pytest
import torch
from pipecat_csm.model.mimi import DecodeState, Mimi
from pipecat_csm.model.native import NativeDecoder

from tests.plugins.pipecat_csm.mimi import reference
from tests.plugins.pipecat_csm.mimi.reference import Pair, make_pair

FRAMES = 50

SHAPES: dict[str, dict[str, Any]] = {
    "plain": reference.PLAIN,
    "wide": reference.WIDE,
    # Numbers that fill no block; queries that share keys; other kernels.
    "odd": {
        **reference.PLAIN,
        "hidden_size": 24,
        "num_filters": 5,
        "upsampling_ratios": [5, 3, 2],
        "num_semantic_quantizers": 2,
        "upsample_groups": 24,
        "intermediate_size": 40,
        "num_key_value_heads": 1,
        "head_dim": 12,
        "residual_kernel_size": 5,
        "kernel_size": 5,
        "compress": 1,
        "sliding_window": 7,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    },
    # Vectors that need no projection.
    "unprojected": {
        **reference.PLAIN,
        "codebook_dim": 16,
        "vector_quantization_hidden_dimension": 16,
    },
}


@pytest.fixture(scope="module")
def pairs():
    """transformers' codec and ours, by shape."""
    found: dict[str, Pair] = {}

    def pair(shape: str) -> Pair:
        if shape not in found:
            found[shape] = make_pair(SHAPES[shape], torch.float32)
        return found[shape]

    return pair


def native(pair: Pair) -> Mimi:
    mimi = copy.deepcopy(pair.ours)
    mimi.whole_decoder = NativeDecoder(mimi)
    return mimi


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_clip_is_within_1e5(kernels, pairs, shape):
    pair = pairs(shape)
    codes = pair.codes(FRAMES)
    close(native(pair).decode(codes), pair.their_sound(codes))


def test_a_clip_may_be_longer_than_the_true_window(kernels, pairs):
    codes = pairs("wide").codes(300)
    close(native(pairs("wide")).decode(codes), pairs("wide").their_sound(codes))


def test_a_stream_sounds_the_same_whatever_is_beside_it(kernels, pairs):
    pair = pairs("odd")
    mimi, clips = native(pair), [pair.codes(30, seed) for seed in range(5)]
    alone = torch.stack([mimi.decode(clip) for clip in clips]).view(5, 30, -1)
    state, done = mimi.decode_state(5), torch.zeros(5, dtype=torch.long)
    draw = torch.manual_seed(0)
    for _ in range(30):
        active = torch.rand(5, generator=draw) < 0.7
        codes = torch.stack([clip[:, at] for clip, at in zip(clips, done, strict=True)])
        sound = mimi.decode_step(codes, state, active=active)
        for stream in active.nonzero().flatten():
            assert torch.equal(sound[stream], alone[stream, done[stream]])
        done += active
    assert state.steps.tolist() == done.tolist()


def test_a_resting_stream_keeps_its_state_whatever_its_codes(kernels, pairs):
    def memory(state: DecodeState) -> list[torch.Tensor]:
        return [state.steps, *state.tails, *(cache[:, :-1] for cache in state.caches)]

    pair = pairs("plain")
    mimi = native(pair)
    state = mimi.decode_state(2)
    for frame in pair.codes(20).T:
        mimi.decode_step(frame.expand(2, -1), state, active=torch.tensor([True, True]))
    before = [tensor.clone() for tensor in memory(state)]
    nonsense = torch.full((2, mimi.config.num_quantizers), 2_000_000_000)
    nonsense[0] = pair.codes(1).T
    mimi.decode_step(nonsense, state, active=torch.tensor([True, False]))
    for old, new in zip(before, memory(state), strict=True):
        assert not torch.equal(old[0], new[0])
        assert torch.equal(old[1], new[1])


def test_torch_and_the_kernels_remember_the_same(kernels, pairs):
    pair = pairs("odd")
    theirs, ours = pair.ours, native(pair)
    states = theirs.decode_state(1), ours.decode_state(1)
    on = torch.ones(1, dtype=torch.bool)
    for frame in pair.codes(20).T:
        for mimi, state in zip((theirs, ours), states, strict=True):
            mimi.decode_step(frame[None], state, active=on)
    for wanted, found in zip(*(state.tensors() for state in states), strict=True):
        close(found.float(), wanted.float())


def test_the_first_rows_of_a_larger_state_are_stepped_in_place(kernels, pairs):
    pair = pairs("plain")
    mimi, clip = native(pair), pair.codes(12)
    state, wanted = mimi.decode_state(4), mimi.decode(clip).view(12, -1)
    for frame in range(12):
        count = 2 if frame % 3 else 4
        codes = clip[:, state.steps[:count]].T
        on = torch.ones(count, dtype=torch.bool)
        sound = mimi.decode_step(codes, state.rows(count), active=on)
        assert torch.equal(sound[0], wanted[frame])
    assert state.steps.tolist() == [12, 12, 4, 4]


@pytest.mark.parametrize(
    "other", [{"num_residual_layers": 2}, {"use_conv_shortcut": True}, {"upsample_groups": 4}]
)
def test_other_kinds_of_codec_are_left_to_torch(other):
    pair = make_pair({**reference.PLAIN, **other}, torch.float32)
    assert NativeDecoder.fits(make_pair(reference.PLAIN, torch.float32).ours)
    assert not NativeDecoder.fits(pair.ours)


def test_other_dtypes_are_left_to_torch():
    assert not NativeDecoder.fits(make_pair(reference.PLAIN, torch.float64).ours)
