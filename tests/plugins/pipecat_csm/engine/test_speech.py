"""How far a reply leads its playing, and what its consumer hears of it."""

import math
import threading

import numpy as np
import pytest
from pipecat_csm.engine.speech import Frame, Speech

FRAME_S = 0.08


class Consumer:
    """A reply whose maker is called, as the engine would be, by `woken`."""

    def __init__(self, **kwargs) -> None:
        self.woken = 0
        self.speech = Speech(self._wake, frame_s=FRAME_S, **kwargs)

    def _wake(self) -> None:
        self.woken += 1

    def make(self, most: int = 1000) -> int:
        """Makes frames while there is room, at most so many; returns how many."""
        for made in range(most):
            if not self.speech.has_room(0):
                return made
            self.speech.put(frame(self.speech.made))
        return most


def frame(number: int) -> Frame:
    return Frame(np.full(4, number), np.zeros(8, np.float32))


def test_unpaced_what_is_taken_is_played():
    consumer = Consumer(lead_s=4.0)
    speech = consumer.speech
    assert consumer.make() == 50
    assert speech.buffered_s == pytest.approx(4.0)
    assert speech.take() is not None
    assert consumer.woken == 1
    assert speech.buffered_s == pytest.approx(3.92)
    assert consumer.make() == 1
    speech.report_played(2.0)
    assert consumer.make() == 0, "it takes no notice"


def test_paced_what_is_reported_is_played():
    consumer = Consumer(lead_s=4.0, paced=True)
    speech = consumer.speech
    assert consumer.make() == 50
    for _ in range(50):
        speech.take()
    assert (consumer.woken, consumer.make()) == (0, 0), "taken at once, and not heard by anyone"
    speech.report_played(0.2)
    assert consumer.woken == 1
    assert speech.buffered_s == pytest.approx(3.8)
    assert consumer.make() == 3, "a frame may begin while the last one is not full"


def test_reports_only_grow_and_never_pass_what_was_taken():
    consumer = Consumer(lead_s=1.0, paced=True)
    speech = consumer.speech
    made = consumer.make()
    for _ in range(5):
        speech.take()
    speech.report_played(0.3)
    for earlier in (0.1, 0.0, -1.0, math.nan, -math.inf):
        speech.report_played(earlier)
        assert speech.buffered_s == pytest.approx(made * FRAME_S - 0.3)
    speech.report_played(math.inf)
    assert speech.buffered_s == pytest.approx((made - 5) * FRAME_S)


def test_what_was_said_before_and_is_still_playing_counts_as_buffered():
    consumer = Consumer(lead_s=4.0, paced=True)
    speech = consumer.speech
    for ignored in (-math.inf, math.nan):
        speech.report_played(ignored)
    speech.report_played(-3.0)
    assert speech.buffered_s == pytest.approx(3.0)
    assert consumer.make() == 13
    speech.report_played(-2.0)
    assert consumer.woken == 1
    assert consumer.make() == 12
    for _ in range(25):
        speech.take()
    speech.report_played(0.5)
    assert speech.buffered_s == pytest.approx(1.5)


@pytest.mark.parametrize("paced", [False, True])
def test_who_hears_no_more_reports_is_silent_when_all_has_been_played(paced):
    now_s = 5.0
    consumer = Consumer(lead_s=4.0, paced=paced, clock=lambda: now_s)
    speech = consumer.speech
    consumer.make()
    now_s = 6.0
    for _ in range(10):
        speech.take()
    speech.report_played(0.8)
    assert speech.silent_in_s() == speech.buffered_s == pytest.approx(3.2)
    now_s = 8.0
    assert speech.buffered_s == pytest.approx(3.2), "for all that is known he has paused"
    assert speech.silent_in_s() == pytest.approx(1.2)
    now_s = 10.0
    assert speech.silent_in_s() == 0.0


def test_frames_in_flight_count_as_made():
    consumer = Consumer(lead_s=3 * FRAME_S)
    consumer.make(most=2)
    assert consumer.speech.has_room(0)
    assert not consumer.speech.has_room(1)


def test_a_lead_below_a_frame_makes_one_at_a_time():
    consumer = Consumer(lead_s=0.01, paced=True)
    assert consumer.make() == 1
    consumer.speech.take()
    assert consumer.make() == 0
    consumer.speech.report_played(FRAME_S)
    assert consumer.make() == 1


def test_a_lead_may_be_without_bound_but_not_nothing():
    assert Consumer(lead_s=math.inf).make(999) == 999
    for lead_s in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="more than 0 s"):
            Consumer(lead_s=lead_s)


def test_reports_may_come_from_any_thread():
    consumer = Consumer(lead_s=100.0, paced=True)
    speech = consumer.speech
    made = consumer.make()
    for _ in range(made):
        speech.take()

    def report(first: int) -> None:
        for step in range(first, made, 4):
            speech.report_played(step * FRAME_S)

    threads = [threading.Thread(target=report, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert speech.buffered_s == pytest.approx(FRAME_S)


def test_after_the_end_what_was_made_can_be_taken_and_then_nothing():
    consumer = Consumer()
    consumer.make(most=2)
    consumer.speech.finish("limit")
    consumer.speech.finish("cancelled")
    assert [int(frame.codes[0]) for frame in consumer.speech] == [0, 1]
    assert consumer.speech.take() is None
    assert consumer.speech.ending == "limit"


def test_who_waits_for_a_frame_is_told_when_none_comes_in_time():
    speech = Consumer().speech
    with pytest.raises(TimeoutError, match="No frame came"):
        speech.take(timeout_s=0.001)
    with pytest.raises(TimeoutError, match="did not end"):
        speech.wait(timeout_s=0.001)
