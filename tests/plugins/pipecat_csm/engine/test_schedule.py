"""Who is served first, and who waits: no device, and a clock that stands where it is put."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat_csm.engine.schedule import Pace, Turn, next_turn

FRAME_S = 0.08
SLOW, QUICK = 0.1, 0.05


def waiting(buffered_s: float) -> Turn:
    return Turn(lambda: buffered_s)


class Buffer:
    """A playout buffer that is played from, or not."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


# Readings.


def test_somebody_who_waits_comes_before_what_is_read_ahead():
    assert next_turn([Turn(), Turn(), waiting(3.0), Turn()], 0.0) == 2


def test_the_smallest_buffer_comes_first():
    assert next_turn([waiting(2.0), waiting(0.5), waiting(1.0)], 0.0) == 1


def test_of_equals_the_one_that_waits_longest():
    line = [waiting(0.0), waiting(0.0)]
    assert next_turn(line, 0.0) == 0
    later = waiting(0.0)
    assert next_turn([later, line[1]], 1.0) == 1


def test_one_whose_buffer_has_run_dry_meanwhile_comes_before_a_newcomer():
    buffer = Buffer(1.0)
    speaker = Turn(buffer)
    assert next_turn([speaker, waiting(0.0)], 0.0) == 1
    buffer.seconds = 0.0
    assert next_turn([waiting(0.0), speaker], 1.1) == 1


def test_after_each_chunk_the_next_of_equals_is_served():
    line = [waiting(0.0) for _ in range(3)]
    served = []
    for now_s in range(6):
        turn = line.pop(next_turn(line, now_s))
        served.append(turn)
        turn.served()
        line.append(turn)
    assert served[:3] == served[3:]
    assert len(set(served)) == 3


def test_what_is_read_ahead_becomes_urgent_when_somebody_comes_to_need_it():
    ahead = Turn()
    line = [ahead, waiting(2.0)]
    assert next_turn(line, 0.0) == 1
    ahead.hurry(Buffer(1.0))
    assert next_turn(line, 0.0) == 0


@given(st.floats(0.0, 100.0), st.floats(0.01, 1.0))
def test_nobody_waits_for_ever_behind_newcomers_whatever_is_in_his_buffer(buffered_s, chunk_s):
    patient = waiting(buffered_s)  # and nobody plays from it
    now_s, rounds = 0.0, 0
    while next_turn([waiting(0.0), patient], now_s) == 0:
        now_s += chunk_s
        rounds += 1
    assert rounds <= math.ceil(buffered_s / chunk_s) + 1


# Steps.


def strained() -> Pace:
    pace = Pace(FRAME_S)
    for _ in range(5):
        pace.note(SLOW)
    assert pace.strained
    return pace


def test_on_a_device_that_keeps_up_all_step_together():
    pace = Pace(FRAME_S)
    for _ in range(20):
        pace.note(QUICK)
    assert pace.choose({0: 3.9, 1: 0.0, 2: 2.5}) == {0, 1, 2}


def test_on_one_that_does_not_those_who_are_comfortable_wait():
    assert strained().choose({0: 3.9, 1: 0.0, 2: 1.5}) == {1, 2}


def test_who_waits_goes_on_waiting_until_little_is_left():
    pace = strained()
    ahead_s = (1.9, 2.1, 1.5, 1.0, 0.9, 1.5, 1.9, 2.1)
    waits = [0 not in pace.choose({0: seconds, 1: 0.0}) for seconds in ahead_s]
    assert waits == [False, True, True, True, False, False, False, True]


def test_where_all_are_comfortable_nobody_waits():
    assert strained().choose({0: 3.0, 1: 2.5}) == {0, 1}
    assert strained().choose({}) == set()


def test_another_reply_in_the_slot_of_one_who_waited_begins_with_its_own_buffer():
    pace = strained()
    pace.choose({0: 3.0, 1: 0.0})
    assert pace.choose({0: 0.0, 1: 0.0}) == {0, 1}


@pytest.mark.parametrize("slow", [1, 2])
def test_a_slow_step_or_two_are_chance(slow):
    pace = Pace(FRAME_S)
    for step in range(30):
        pace.note(SLOW if step % 5 < slow else QUICK)
        assert not pace.strained


def test_a_device_keeps_up_again_only_with_time_to_spare():
    pace = strained()
    for _ in range(10):
        pace.note(0.9 * FRAME_S)
    assert pace.strained
    for _ in range(3):
        pace.note(0.7 * FRAME_S)
    assert not pace.strained
    for _ in range(10):
        pace.note(0.9 * FRAME_S)
    assert not pace.strained
