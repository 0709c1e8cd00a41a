"""Lines: reserved before any work starts, never more than there are."""

import pytest

from agent.lines import BUSY, AllLinesBusy, Lines


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_one_caller_too_many_is_told_so(clock):
    lines = Lines(2, clock=clock)
    lines.reserve("ada")
    lines.take(lines.reserve("max").token)
    with pytest.raises(AllLinesBusy, match="All lines are busy"):
        lines.reserve("ada")
    assert "try again" in BUSY


def test_a_reservation_is_taken_once(clock):
    lines = Lines(2, clock=clock)
    line = lines.reserve("ada")
    assert lines.take(line.token) is line
    assert lines.take(line.token) is None
    assert lines.take("forged") is None
    assert lines.live == 1


def test_an_untaken_reservation_lapses(clock):
    lines = Lines(1, reservation_s=15, clock=clock)
    stale = lines.reserve("ada")
    clock.now += 15
    assert lines.take(stale.token) is None
    assert lines.take(lines.reserve("max").token)


def test_a_taken_line_stays_until_it_is_released(clock):
    lines = Lines(1, reservation_s=15, clock=clock)
    line = lines.reserve("ada")
    lines.take(line.token)
    clock.now += 1000
    with pytest.raises(AllLinesBusy):
        lines.reserve("max")
    lines.release(line)
    lines.release(line)
    assert lines.reserve("max")
