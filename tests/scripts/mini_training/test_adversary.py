"""An adversary learns to tell two sounds apart, and which way to go to be taken for the other."""

from copy import deepcopy

import pytest
import torch

from scripts.mini_training.codec.adversary import Adversary, piece, together
from scripts.mini_training.codec.model import FRAME_SAMPLES

SAMPLES = 4 * FRAME_SAMPLES


def noise(seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, SAMPLES, generator=torch.manual_seed(seed))


def tone() -> torch.Tensor:
    time_s = torch.arange(SAMPLES) / 24_000
    return torch.stack([0.1 * (6.283 * hz * time_s).sin() for hz in (150, 300)])


@pytest.fixture
def adversary() -> Adversary:
    torch.manual_seed(0)
    return Adversary()


def test_it_learns_to_tell_a_tone_from_noise(adversary: Adversary):
    losses = [adversary.learn(noise(step), tone()) for step in range(30)]
    assert losses[0] == pytest.approx(2.0, abs=0.1), "it knows nothing"
    assert losses[-1] < 0.7 * losses[0]
    fooled_by_noise, _ = adversary.judge(noise(99), tone())
    fooled_by_tone, _ = adversary.judge(tone(), tone())
    assert fooled_by_tone < fooled_by_noise


def test_the_wanted_sound_itself_is_seen_as_that(adversary: Adversary):
    _, same = adversary.judge(tone(), tone())
    _, other = adversary.judge(noise(1), tone())
    assert same == 0 < other


def test_judging_has_a_gradient_for_the_sound_alone(adversary: Adversary):
    adversary.learn(noise(0), tone())
    before = [parameter.grad for parameter in adversary.parameters()]
    made = noise(1).requires_grad_()
    fooled, seen = adversary.judge(made, tone())
    (fooled + seen).backward()
    assert made.grad is not None
    assert bool(made.grad.isfinite().all())
    assert made.grad.abs().sum() > 0
    after = [parameter.grad for parameter in adversary.parameters()]
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_silence_breaks_nothing(adversary: Adversary):
    made = torch.zeros(2, SAMPLES, requires_grad=True)
    assert adversary.learn(made, torch.zeros(2, SAMPLES)) == pytest.approx(2.0, abs=0.1)
    fooled, seen = adversary.judge(made, tone())
    (fooled + seen).backward()
    assert made.grad is not None
    assert bool(made.grad.isfinite().all())


def test_it_goes_on_from_its_state_as_if_it_had_not_stopped(adversary: Adversary):
    adversary.learn(noise(0), tone())
    other = Adversary()
    other.resume(deepcopy(adversary.state()))  # as a file would be
    for step in range(1, 3):
        assert other.learn(noise(step), tone()) == adversary.learn(noise(step), tone())


def test_it_is_shown_every_part_of_a_clip_in_turn():
    shown = [piece(step, 30) for step in range(60)]
    assert {one.stop - one.start for one in shown} == {12 * FRAME_SAMPLES}
    assert min(one.start for one in shown) == 0
    assert max(one.stop for one in shown) == 30 * FRAME_SAMPLES
    assert piece(7, 6) == slice(0, 6 * FRAME_SAMPLES), "a short one is shown whole"


def test_gradients_join_in_given_sizes_whatever_their_own():
    weights = torch.ones(3, requires_grad=True)
    ruling, other = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 1e-4, 0.0])
    together(2 * weights, ruling, [(0.5, other), (1.0, torch.zeros(3))]).backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == pytest.approx([4.0, 2.0, 0.0])
