"""The search for the largest number of sessions that keep up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.csm_bench.sessions import next_number


def tried(largest: int, bound: int) -> list[int]:
    """The numbers that are tried where `largest` is the last that holds."""
    held: dict[int, bool] = {}
    while number := next_number(held, bound):
        held[number] = number <= largest
    return list(held)


@pytest.mark.parametrize(
    ("largest", "bound", "numbers"),
    [
        (0, 100, [1]),
        (1, 100, [1, 2]),
        (5, 100, [1, 2, 4, 8, 6, 5]),
        (40, 1000, [1, 2, 4, 8, 16, 32, 64, 48, 40, 44, 42]),
        (1000, 100, [1, 2, 4, 8, 16, 32, 64, 100]),
        (1000, 1, [1]),
        (1000, 0, []),
    ],
)
def test_it_doubles_and_then_halves_what_is_between(largest, bound, numbers):
    assert tried(largest, bound) == numbers


@given(st.integers(0, 600), st.integers(0, 600))
def test_it_comes_within_a_sixteenth_below_and_never_above(largest, bound):
    numbers = tried(largest, bound)
    found = max((number for number in numbers if number <= largest), default=0)
    wanted = min(largest, bound)
    assert found <= wanted <= found + found // 16 + 1
    assert max(numbers, default=0) <= bound


def test_a_number_that_failed_by_chance_is_no_bound_for_those_that_held_above_it():
    assert next_number({1: True, 2: False, 3: True}, 100) == 6
