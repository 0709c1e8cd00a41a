"""Pairs of small codecs, made once: transformers' and ours, with the same random weights."""

from collections.abc import Callable
from functools import cache

import pytest
import torch

from tests.plugins.pipecat_csm.mimi import reference
from tests.plugins.pipecat_csm.mimi.reference import Pair

SHAPES = {"plain": reference.PLAIN, "odd": reference.ODD, "wide": reference.WIDE}


@pytest.fixture(scope="session")
def pairs() -> Callable[[str, torch.dtype], Pair]:
    """Makes the pair of a shape and a type, or gives the one that was made."""

    @cache
    def pair(shape: str, dtype: torch.dtype) -> Pair:
        return reference.make_pair(SHAPES[shape], dtype)

    return pair


@pytest.fixture(params=SHAPES)
def exact(request: pytest.FixtureRequest, pairs: Callable[[str, torch.dtype], Pair]) -> Pair:
    """Each shape in float64, where only a mistake makes a difference."""
    return pairs(request.param, torch.float64)


@pytest.fixture(params=SHAPES)
def single(request: pytest.FixtureRequest, pairs: Callable[[str, torch.dtype], Pair]) -> Pair:
    """Each shape in float32."""
    return pairs(request.param, torch.float32)


@pytest.fixture
def plain(pairs: Callable[[str, torch.dtype], Pair]) -> Pair:
    """The small codec in float64 that most resembles the true one."""
    return pairs("plain", torch.float64)
