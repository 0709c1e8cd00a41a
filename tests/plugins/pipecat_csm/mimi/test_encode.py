"""Encoding sound as it comes gives the codes that transformers' MimiModel gives for the whole."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat_csm.errors import AudioError

from tests.plugins.pipecat_csm.mimi.reference import Pair

QUICK = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("frames", [1, 2, 7, 50])
def test_a_clip_is_exact_in_float64(exact: Pair, frames: int):
    audio = exact.sound(frames * exact.ours.config.frame_samples)
    assert torch.equal(exact.ours.encode(audio), exact.their_codes(audio))


def test_a_clip_agrees_in_float32(single: Pair):
    # Two codes can be equally near; then rounding chooses, and what follows it differs.
    audio = single.sound(100 * single.ours.config.frame_samples)
    same = (single.ours.encode(audio) == single.their_codes(audio)).float().mean()
    assert same > 0.99


def test_a_clip_may_be_longer_than_the_true_window(pairs):
    wide = pairs("wide", torch.float64)
    audio = wide.sound(300 * wide.ours.config.frame_samples)
    assert torch.equal(wide.ours.encode(audio), wide.their_codes(audio))


@pytest.mark.parametrize("samples", [1, 15, 17, 161])
def test_a_clip_is_padded_to_whole_frames(plain: Pair, samples: int):
    audio = plain.sound(samples)
    codes = plain.ours.encode(audio)
    assert codes.shape == (plain.ours.config.num_quantizers, -(-samples // 16))
    assert torch.equal(codes, plain.their_codes(audio))


@QUICK
@given(chunks=st.lists(st.integers(1, 70), min_size=1, max_size=6))
def test_chunks_do_not_show(plain: Pair, chunks: list[int]):
    samples = plain.ours.config.frame_samples
    audio = plain.sound(sum(chunks) * samples)
    state = plain.ours.encode_state(1)
    pieces = audio[None].split([chunk * samples for chunk in chunks], dim=1)
    codes = [plain.ours.encode_step(piece, state) for piece in pieces]
    assert [c.shape[2] for c in codes] == chunks
    assert torch.equal(torch.cat(codes, 2)[0], plain.their_codes(audio))
    assert state.steps.tolist() == [sum(chunks)]


def test_streams_in_one_batch_do_not_hear_each_other(exact: Pair):
    samples = exact.ours.config.frame_samples
    audio = torch.stack([exact.sound(30 * samples, seed) for seed in range(3)])
    state = exact.ours.encode_state(3)
    codes = torch.cat([exact.ours.encode_step(c, state) for c in audio.split(6 * samples, 1)], 2)
    for row, stream in zip(codes, audio, strict=True):
        assert torch.equal(row, exact.their_codes(stream))


def test_one_stream_begins_anew_while_another_goes_on(exact: Pair):
    samples = exact.ours.config.frame_samples
    audio = torch.stack([exact.sound(40 * samples, seed) for seed in range(2)])
    state = exact.ours.encode_state(2)
    exact.ours.encode_step(audio[:, : 20 * samples], state)
    exact.ours.reset(state, torch.tensor([False, True]))
    codes = exact.ours.encode_step(audio[:, 20 * samples :], state)
    assert torch.equal(codes[0], exact.their_codes(audio[0])[:, 20:])
    assert torch.equal(codes[1], exact.their_codes(audio[1, 20 * samples :]))


def test_what_was_encoded_can_be_decoded(plain: Pair):
    audio = plain.sound(500)
    codes = plain.ours.encode(audio)
    sound = plain.ours.decode(codes)
    torch.testing.assert_close(sound, plain.their_sound(codes), rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [0, 1, 17])
def test_a_step_takes_whole_frames(plain: Pair, samples: int):
    with pytest.raises(AudioError, match=f"whole frames of 16 samples; it was given {samples}"):
        plain.ours.encode_step(torch.zeros(1, samples), plain.ours.encode_state(1))


@pytest.mark.parametrize("shape", [(0,), (2, 1600), ()])
def test_a_clip_is_one_row_of_samples(plain: Pair, shape: tuple[int, ...]):
    with pytest.raises(AudioError, match="mono samples in one row"):
        plain.ours.encode(torch.zeros(shape))
