"""Codes are drawn as asked, and from counters alone."""

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pipecat_csm.errors import OptionError
from pipecat_csm.model.sampling import Sampling, SamplingOptions, sample, segment_key

LOGITS = torch.tensor([[0.0, 2.0, 1.0, -1.0, 1.5, 0.5, -2.0, 0.2]])


def how(batch=1, temperature=1.0, top_k=0, min_p=0.0, seed=1, segment=0) -> Sampling:
    return Sampling(
        torch.full((batch,), temperature),
        torch.full((batch,), top_k),
        torch.full((batch,), min_p),
        torch.tensor([segment_key(seed, segment)] * batch),
    )


def draws(count=20_000, **kwargs) -> torch.Tensor:
    """Shares of each code over many frames."""
    logits = LOGITS.expand(count, -1)
    drawn = sample(logits, how(count, **kwargs), torch.arange(count), 3, most=8)
    return torch.bincount(drawn, minlength=8) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_shares_are_the_softmax_of_the_logits(temperature):
    expected = (LOGITS[0] / temperature).softmax(-1)
    assert torch.allclose(draws(temperature=temperature), expected, atol=0.015)


def test_top_k_leaves_the_likeliest():
    expected = torch.zeros(8)
    expected[[1, 4, 2]] = LOGITS[0, [1, 4, 2]].softmax(-1)
    assert torch.allclose(draws(top_k=3), expected, atol=0.015)


def test_min_p_drops_what_is_far_less_likely():
    allowed = LOGITS[0].softmax(-1) >= 0.3 * LOGITS[0].softmax(-1).max()
    assert torch.equal(draws(min_p=0.3) > 0, allowed)


def test_no_temperature_takes_the_likeliest():
    assert draws(temperature=0.0)[1] == 1


@given(st.integers(0, 2**63), st.integers(0, 2**40), st.integers(0, 5000), st.integers(0, 31))
def test_a_draw_depends_on_nothing_beside_it(seed, segment, frame, codebook):
    logits = torch.randn(5, 40, generator=torch.manual_seed(0))
    one = how(1, seed=seed, segment=segment)
    alone = sample(logits[2:3], one, torch.tensor([frame]), codebook, most=40)
    others = how(5, seed=7)
    others.key[2] = one.key[0]
    frames = torch.tensor([1, 2, frame, 3, 4])
    assert sample(logits, others, frames, codebook, most=40)[2] == alone[0]


def test_every_counter_changes_the_draws():
    def many(**kwargs) -> torch.Tensor:
        codebook = kwargs.pop("codebook", 0)
        first = kwargs.pop("first", 0)
        logits = torch.zeros(200, 100)
        return sample(logits, how(200, **kwargs), first + torch.arange(200), codebook, most=100)

    base = many()
    for other in (many(seed=2), many(segment=1), many(codebook=1), many(first=200)):
        assert (base == other).float().mean() < 0.1
    assert torch.equal(many(), base)


def test_what_is_sorted_does_not_change_what_is_drawn():
    logits = torch.randn(100, 500, generator=torch.manual_seed(0))
    frames = torch.arange(100)
    few = sample(logits, how(100, top_k=20), frames, 0, most=64)
    assert torch.equal(few, sample(logits, how(100, top_k=20), frames, 0, most=500))


def test_float64_ties_that_float32_cannot_tell_apart_go_to_the_first():
    logits = torch.tensor([[0.0, 1.0, 1.0 + 1e-12, 0.5]], dtype=torch.float64)
    assert sample(logits, how(temperature=0.0), torch.zeros(1, dtype=torch.long), 0, most=4) == 1


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"temperature": -1}, "temperature is a number from 0 to 1,000, not -1."),
        ({"temperature": math.nan}, "temperature is a number from 0 to 1,000, not nan."),
        ({"temperature": "hot"}, "not 'hot'"),
        ({"temperature": True}, "not True"),
        ({"top_k": -1}, "top_k is a whole number from 0 to 1,000,000, not -1."),
        ({"top_k": 1e9}, "not 1000000000.0"),
        ({"top_k": 10**9}, "not 1000000000"),
        ({"min_p": 1.5}, "min_p is a number from 0 to 1, not 1.5."),
        ({"seed": 0.5}, "seed is a whole number, not 0.5."),
    ],
)
def test_options_that_make_no_sense_cannot_be_made(numbers, expected):
    with pytest.raises(OptionError, match=re.escape(expected)):
        SamplingOptions(**numbers)


def test_options_may_be_any_kind_of_number():
    numbers: Any = (np.float32(0.5), np.int64(3), Fraction(1, 4), np.uint8(7))
    how = SamplingOptions(*numbers)
    assert [type(number) for number in vars(how).values()] == [float, int, float, int]
    assert how == SamplingOptions(0.5, 3, 0.25, 7)
