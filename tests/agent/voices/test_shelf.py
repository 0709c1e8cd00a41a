"""Examined recordings stay for a while, and not all of them."""

import numpy as np
import pytest

from agent.voices.examining import Examined
from agent.voices.shelf import KEPT_S, MAX_KEPT, Shelf


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def shelf(now) -> Shelf:
    return Shelf(clock=lambda: now[0])


def examined() -> Examined:
    return Examined(np.zeros(24_000, np.float32), (), ())


def test_what_is_put_is_found_by_its_token(shelf):
    one, two = examined(), examined()
    first, second = shelf.put(one), shelf.put(two)
    assert shelf.get(first) is one
    assert shelf.get(second) is two
    assert shelf.get("forged") is None
    assert len(first) >= 20


def test_it_leaves_after_a_while(shelf, now):
    token = shelf.put(examined())
    now[0] = KEPT_S - 1
    assert shelf.get(token) is not None
    now[0] = KEPT_S
    assert shelf.get(token) is None


def test_the_oldest_leaves_when_there_are_too_many(shelf):
    tokens = [shelf.put(examined()) for _ in range(MAX_KEPT + 1)]
    assert shelf.get(tokens[0]) is None
    assert all(shelf.get(token) for token in tokens[1:])


def test_it_can_be_forgotten_twice(shelf):
    token = shelf.put(examined())
    shelf.forget(token)
    shelf.forget(token)
    assert shelf.get(token) is None
