"""Decoding frame by frame gives what transformers' MimiModel gives for the whole clip."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat_csm.model.mimi import DecodeState
from torch import Tensor

from tests.plugins.pipecat_csm.mimi.reference import Pair

FRAMES = 50  # past the window of the small codecs six times over


def on(batch: int) -> Tensor:
    return torch.ones(batch, dtype=torch.bool)


def memory(state: DecodeState) -> list[Tensor]:
    """All of a state but the scratch positions behind the rings."""
    return [state.steps, *state.tails, *(cache[:, :-1] for cache in state.caches)]


def test_a_clip_is_exact_in_float64(exact: Pair):
    codes = exact.codes(FRAMES)
    sound = exact.ours.decode(codes)
    torch.testing.assert_close(sound, exact.their_sound(codes), rtol=0, atol=1e-12)


def test_a_clip_is_within_1e5_in_float32(single: Pair):
    codes = single.codes(FRAMES)
    sound = single.ours.decode(codes)
    torch.testing.assert_close(sound, single.their_sound(codes), rtol=0, atol=1e-5)


def test_a_clip_may_be_longer_than_the_true_window(pairs):
    wide = pairs("wide", torch.float64)
    codes = wide.codes(300)
    sound = wide.ours.decode(codes)
    torch.testing.assert_close(sound, wide.their_sound(codes), rtol=0, atol=1e-12)


def test_no_frames_are_no_sound(plain: Pair):
    assert plain.ours.decode(plain.codes(0)).shape == (0,)


def test_a_frame_is_heard_at_once(plain: Pair):
    state = plain.ours.decode_state(3)
    sound = plain.ours.decode_step(plain.codes(3).T, state, active=on(3))
    assert sound.shape == (3, plain.ours.config.frame_samples)
    assert state.steps.tolist() == [1, 1, 1]


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_streams_in_one_batch_do_not_hear_each_other(plain: Pair, data: st.DataObject):
    """Each stream runs, rests and begins anew as it likes, and sounds as if it were alone."""
    streams, steps, mostly = 3, 40, st.sampled_from([True, True, True, False])
    clips = [plain.codes(steps, seed) for seed in range(streams)]
    expected = [plain.their_sound(clip).view(steps, -1) for clip in clips]
    # Streams mostly run, so that their rings wrap, each of them somewhere else.
    runs = data.draw(
        st.lists(st.lists(mostly, min_size=3, max_size=3), min_size=30, max_size=steps)
    )
    resets = data.draw(st.sets(st.tuples(st.integers(0, steps), st.integers(0, 2)), max_size=4))
    state, done = plain.ours.decode_state(streams), [0] * streams
    for step, active in enumerate(runs):
        begin = [(step, stream) in resets for stream in range(streams)]
        plain.ours.reset(state, torch.tensor(begin))
        done = [0 if new else count for new, count in zip(begin, done, strict=True)]
        codes = torch.stack([clip[:, at] for clip, at in zip(clips, done, strict=True)])
        sound = plain.ours.decode_step(codes, state, active=torch.tensor(active))
        for stream in range(streams):
            if active[stream]:
                wanted = expected[stream][done[stream]]
                torch.testing.assert_close(sound[stream], wanted, rtol=0, atol=1e-12)
                done[stream] += 1
    assert state.steps.tolist() == done


def test_a_resting_stream_keeps_its_state_whatever_its_codes(exact: Pair):
    state = exact.ours.decode_state(2)
    for frame in exact.codes(20).T:
        exact.ours.decode_step(frame.expand(2, -1), state, active=on(2))
    before = [tensor.clone() for tensor in memory(state)]
    nonsense = torch.full((2, exact.ours.config.num_quantizers), 2_000_000_000)
    nonsense[0] = exact.codes(1).T
    exact.ours.decode_step(nonsense, state, active=torch.tensor([True, False]))
    for old, new in zip(before, memory(state), strict=True):
        assert not torch.equal(old[0], new[0])
        assert torch.equal(old[1], new[1])


def test_a_new_beginning_is_a_fresh_start(exact: Pair):
    state = exact.ours.decode_state(2)
    for frame in exact.codes(30).T:
        exact.ours.decode_step(frame.expand(2, -1), state, active=on(2))
    exact.ours.reset(state, torch.tensor([False, True]))
    for tensor in state.tensors():
        assert not tensor[1].any()
        assert tensor[0].any()


def test_a_new_beginning_heals_a_stream_that_was_not_finite(plain: Pair):
    state = plain.ours.decode_state(1)
    for tensor in (*state.tails, *state.caches):
        tensor.fill_(torch.nan)
    plain.ours.reset(state, on(1))
    codes = plain.codes(10)
    sound = [plain.ours.decode_step(frame[None], state, active=on(1))[0] for frame in codes.T]
    torch.testing.assert_close(torch.cat(sound), plain.their_sound(codes), rtol=0, atol=1e-12)


def test_the_first_rows_of_a_larger_state_are_stepped_in_place(plain: Pair):
    """The engine steps buckets: now two streams, now four, of the same array."""
    state, clips = plain.ours.decode_state(4), torch.stack([plain.codes(30, s) for s in range(4)])
    expected = torch.stack([plain.their_sound(clip).view(30, -1) for clip in clips])
    for frame in range(30):
        count = 2 if frame % 3 else 4
        at = state.steps[:count]
        codes = clips[torch.arange(count), :, at]
        wanted = expected[torch.arange(count), at]
        sound = plain.ours.decode_step(codes, state.rows(count), active=on(count))
        torch.testing.assert_close(sound, wanted, rtol=0, atol=1e-12)
    assert state.steps.tolist() == [30, 30, 10, 10]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(pairs, dtype: torch.dtype):
    plain = pairs("plain", torch.float32)
    half = type(plain.ours)(plain.ours.config)
    half.load_state_dict(plain.ours.state_dict())
    half.to(dtype).finish()
    codes = plain.codes(FRAMES)
    sound, wanted = half.decode(codes), plain.their_sound(codes)
    assert sound.dtype == dtype
    assert (sound.float() - wanted).square().mean().sqrt() < 0.05 * wanted.square().mean().sqrt()
