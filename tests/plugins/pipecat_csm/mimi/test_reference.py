"""The comparison itself: a codec that says the same to everything would pass any of it."""

import torch

from tests.plugins.pipecat_csm.mimi.reference import WIDE, Pair, make_pair


def rms(audio: torch.Tensor) -> float:
    return audio.square().mean().sqrt().item()


def test_the_reference_can_be_heard(exact: Pair):
    assert rms(exact.their_sound(exact.codes(40))) > 0.03


def test_different_codes_sound_different(exact: Pair):
    one, other = (exact.their_sound(exact.codes(40, seed)) for seed in (1, 2))
    assert rms(one - other) > 0.3 * rms(one)


def test_each_codebook_is_heard(exact: Pair):
    codes = exact.codes(20)
    sound = exact.their_sound(codes)
    for codebook in range(len(codes)):
        changed = codes.clone()
        changed[codebook, 10] = (changed[codebook, 10] + 1) % exact.ours.config.codebook_size
        assert rms(sound - exact.their_sound(changed)) > 1e-3


def test_the_window_matters(plain: Pair):
    wide = make_pair(WIDE, torch.float64)
    wide.theirs.load_state_dict(plain.theirs.state_dict())  # type: ignore[union-attr]
    codes = plain.codes(40)
    one, other = plain.their_sound(codes), wide.their_sound(codes)
    seen = 8 * plain.ours.config.frame_samples
    torch.testing.assert_close(one[:seen], other[:seen])
    assert rms(one[seen:] - other[seen:]) > 1e-3


def test_different_sounds_have_different_codes(exact: Pair):
    one, other = (exact.their_codes(exact.sound(1000, seed)) for seed in (1, 2))
    assert (one != other).float().mean() > 0.5
    assert len(one.unique()) > 20
