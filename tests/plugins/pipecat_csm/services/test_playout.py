"""What was heard of a reply: what the device confirms, else what was sent less what it holds."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipecat_csm.services.playout import Playout

BUFFER_S = 0.2


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def playout(clock: Clock) -> Playout:
    return Playout(BUFFER_S, clock)


def test_a_device_that_says_nothing_hears_what_was_sent_a_little_later(playout, clock):
    playout.sent("a", 2.0)
    assert playout.heard_s("a") == 0.0
    clock.now += 0.15
    assert playout.heard_s("a") == 0.0, "it lies in buffers"
    clock.now += 1.05
    assert playout.heard_s("a") == pytest.approx(1.0), "sent faster is not heard faster"
    clock.now += 5
    assert playout.heard_s("a") == pytest.approx(2.0)


def test_what_is_sent_after_a_pause_is_late_by_the_pause(playout, clock):
    assert playout.late_s("a", waits=True) == 0.0, "nobody knows it"
    playout.begin("a")
    clock.now += 3
    assert playout.late_s("a", waits=True) == 0.0, "nothing of it was sent"
    playout.sent("a", 1.0)
    clock.now += 0.5
    assert playout.late_s("a", waits=True) == 0.0, "it was sent ahead"
    clock.now += 1.5
    assert playout.late_s("a", waits=True) == pytest.approx(1.0)
    assert playout.late_s("a", waits=False) == 0.0, "a transport may catch up with what it has"
    playout.sent("a", 0.6)
    clock.now += 0.1
    assert playout.late_s("a", waits=True) == pytest.approx(0.5)
    assert playout.late_s("a", waits=False) == pytest.approx(0.4)


def test_a_pause_in_what_is_sent_is_a_pause_in_what_is_heard(playout, clock):
    playout.sent("a", 1.0)
    clock.now += 5
    playout.sent("a", 1.0)
    assert playout.heard_s("a") == pytest.approx(1.0)
    clock.now += BUFFER_S + 0.5
    assert playout.heard_s("a") == pytest.approx(1.5)


def test_replies_play_one_behind_the_other(playout, clock):
    playout.sent("a", 2.0)
    playout.begin("b")
    playout.sent("b", 2.0)
    clock.now += BUFFER_S + 1.5
    assert (playout.heard_s("a"), playout.heard_s("b")) == (pytest.approx(1.5), 0.0)
    clock.now += 1.0
    assert (playout.heard_s("a"), playout.heard_s("b")) == (2.0, pytest.approx(0.5))


def test_what_the_device_confirms_is_what_was_heard(playout, clock):
    playout.sent("a", 5.0)
    clock.now += 1.2
    playout.confirm("a", 3.0)
    assert playout.heard_s("a") == 3.0
    playout.confirm("a", 3.1)
    assert playout.heard_s("a") == pytest.approx(3.1)


def test_between_two_reports_it_goes_on_playing(playout, clock):
    playout.sent("a", 5.0)
    playout.confirm("a", 1.0)
    clock.now += 0.15
    assert playout.heard_s("a") == pytest.approx(1.15)


def test_a_device_that_stands_still_is_believed(playout, clock):
    """A phone that suspends the page's sound, say."""
    playout.sent("a", 5.0)
    playout.confirm("a", 1.0)
    for _ in range(50):
        clock.now += 0.2
        playout.confirm("a", 1.0)
    assert playout.heard_s("a") == pytest.approx(1.2)
    assert playout.left_s("a") > 3


def test_a_device_that_stops_reporting_is_estimated_from_where_it_was(playout, clock):
    playout.sent("a", 5.0)
    clock.now += 2.0
    playout.confirm("a", 0.5)
    clock.now += 3.0
    assert playout.heard_s("a") == pytest.approx(3.5)
    clock.now += 10.0
    assert playout.heard_s("a") == 5.0
    assert playout.left_s("a") == 0.0


def test_a_confirmed_reply_says_that_those_before_it_were_heard(playout, clock):
    playout.sent("a", 2.0)
    playout.begin("b")
    playout.sent("b", 2.0)
    playout.confirm("b", 0.0)
    assert (playout.heard_s("a"), playout.heard_s("b")) == (2.0, 0.0)


def test_how_long_it_takes_until_all_was_heard(playout, clock):
    playout.sent("a", 2.0)
    assert playout.left_s("a") == pytest.approx(2.0 + BUFFER_S)
    clock.now += 1.0
    assert playout.left_s("a") == pytest.approx(1.0 + BUFFER_S)
    assert playout.audible
    playout.confirm("a", 1.99)
    assert playout.left_s("a") == 0.0, "the device has rounded"
    assert not playout.audible


def test_one_who_reports_is_waited_for_a_little(playout, clock):
    playout.sent("a", 2.0)
    playout.confirm("a", 1.5)
    clock.now += 0.6
    assert 0 < playout.left_s("a") <= 0.5, "its last report is on its way"
    clock.now += 0.5
    assert playout.left_s("a") == 0.0


def test_an_old_report_changes_nothing(playout, clock):
    playout.sent("a", 2.0)
    playout.begin("b")
    playout.sent("b", 5.0)
    playout.confirm("b", 2.0)
    clock.now += 0.1
    playout.confirm("b", 0.5)
    playout.confirm("a", 1.5)
    clock.now += 0.1
    assert playout.heard_s("b") == pytest.approx(2.2)


@pytest.mark.parametrize("absurd", [math.nan, -1.0, -math.inf])
def test_no_time_is_no_report(playout, clock, absurd):
    playout.sent("a", 2.0)
    playout.confirm("a", absurd)
    clock.now += 1.2
    assert playout.heard_s("a") == pytest.approx(1.0)


@pytest.mark.parametrize("absurd", [3.0, 1e300, math.inf])
def test_no_more_is_heard_than_was_sent(playout, absurd):
    playout.sent("a", 2.0)
    playout.confirm("a", absurd)
    assert playout.heard_s("a") == 2.0


def test_what_was_flushed_is_never_heard(playout, clock):
    playout.sent("a", 5.0)
    clock.now += 1.2
    playout.end("a")
    # It was under way when the interruption was, and names a reply that nobody asks for.
    playout.confirm("a", 4.0)
    assert playout.heard_s("a") == 0.0
    playout.begin("b")
    playout.sent("b", 1.0)
    clock.now += BUFFER_S + 0.5
    assert playout.heard_s("b") == pytest.approx(0.5), "nothing of the first stands before it"


NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("begin"), NAMES, st.just(0.0)),
    st.tuples(st.just("sent"), NAMES, st.floats(0, 3)),
    st.tuples(st.just("wait"), NAMES, st.floats(0, 3)),
    st.tuples(st.just("confirm"), NAMES, st.floats() | st.floats(0, 6)),
    st.tuples(st.just("end"), NAMES, st.just(0.0)),
)


@settings(deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_is_reported_heard_grows_and_is_no_more_than_sent(steps):
    clock = Clock()
    playout = Playout(BUFFER_S, clock)
    heard_s: dict[str, float] = {}
    for step, reply, number in steps:
        match step:
            case "begin":
                playout.begin(reply)
            case "sent":
                playout.sent(reply, number)
            case "wait":
                clock.now += number
            case "confirm":
                playout.confirm(reply, number)
            case "end":
                playout.end(reply)
                heard_s.pop(reply, None)
        for name in "abc":
            now_s = playout.heard_s(name)
            assert heard_s.get(name, 0.0) - 1e-9 <= now_s <= playout.sent_s(name)
            assert 0 <= playout.left_s(name) < 200
            heard_s[name] = now_s


@dataclass
class Page:
    """A device at the other end of a network: plays what it gets, reports, and flushes.

    Attributes:
        delay_s: Each way.
        every_s: Between two of its reports; 0 is none.
        stops_s: It reports no more after so long.
    """

    clock: Clock
    playout: Playout
    delay_s: float
    every_s: float
    stops_s: float
    # What is under way, and when it arrives: seconds of a reply to the page, a report from it.
    down: list[tuple[float, str, float]] = field(default_factory=list)
    up: list[tuple[float, str, float]] = field(default_factory=list)
    queue: list[tuple[str, float]] = field(default_factory=list)
    played_s: dict[str, float] = field(default_factory=dict)
    reported_s: float = 0.0

    def run(self, seconds: float, step_s: float = 0.01) -> None:
        began_s = self.clock.now
        while self.clock.now < began_s + seconds:
            self.clock.now += step_s
            while self.down and self.down[0][0] <= self.clock.now:
                _, reply, length_s = self.down.pop(0)
                self.queue.append((reply, length_s))
                self.played_s.setdefault(reply, 0.0)
            if self.queue:
                reply, length_s = self.queue[0]
                self.played_s[reply] += min(step_s, length_s)
                self.queue[0] = reply, length_s - step_s
                if self.queue[0][1] <= 1e-9:
                    self.queue.pop(0)
                self.report(reply)
            while self.up and self.up[0][0] <= self.clock.now:
                _, reply, played_s = self.up.pop(0)
                self.playout.confirm(reply, played_s)

    def report(self, reply: str) -> None:
        now = self.clock.now
        if not self.every_s or now > 100.0 + self.stops_s:
            return
        if now >= self.reported_s + self.every_s or not self.queue:
            self.reported_s = now
            self.up.append((now + self.delay_s, reply, self.played_s[reply]))

    def send(self, reply: str, seconds: float) -> None:
        self.down.append((self.clock.now + self.delay_s, reply, seconds))
        self.playout.sent(reply, seconds)


@settings(deadline=None)
@given(
    delay_s=st.floats(0.0, 0.09),
    every_s=st.sampled_from([0.0, 0.1, 0.2]),
    stops_s=st.sampled_from([0.0, 1.0, 1000.0]),
    replies=st.lists(
        st.tuples(
            st.lists(st.tuples(st.floats(0.04, 2.0), st.floats(0.0, 1.5)), min_size=1, max_size=4),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_it_knows_what_a_page_has_played(delay_s, every_s, stops_s, replies):
    clock = Clock()
    playout = Playout(BUFFER_S, clock)
    page = Page(clock, playout, delay_s, every_s, stops_s)
    for number, (pieces, is_interrupted) in enumerate(replies):
        reply = f"reply {number}"
        playout.begin(reply)
        for seconds, then_s in pieces:
            page.send(reply, seconds)
            page.run(then_s)
            for name, played_s in page.played_s.items():
                if playout.sent_s(name):
                    # Behind it by the ways there and back, and by the buffer that it may not have.
                    assert played_s - 3 * delay_s - BUFFER_S - 0.1 <= playout.heard_s(name)
                    # Ahead of it where less than the buffer was missing for a moment.
                    assert playout.heard_s(name) <= played_s + BUFFER_S + 0.03
        if is_interrupted:
            for past in range(number + 1):
                playout.end(f"reply {past}")
            # All that is under way arrives before the word to drop it.
            page.down.clear()
            page.queue.clear()
