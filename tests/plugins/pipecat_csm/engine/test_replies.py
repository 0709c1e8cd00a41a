"""Steps one by one, without the thread: what is launched, what is read, and whose it is."""

import contextlib
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat_csm.engine.fetch import Pending
from pipecat_csm.engine.replies import Replies
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import CSMError
from pipecat_csm.model.prompt import text_frames

FRAME_S = 64 / 24_000  # of the tiny model


class Stage:
    """A runner of three slots, and the replies on it."""

    def __init__(
        self, checkpoint, *, late: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.checkpoint = checkpoint
        self.runner = Runner(checkpoint.model, slots=3)
        self.replies = Replies(self.runner, late=late, clock=clock)

    def begin(self, slot: int, seed: int, *, lead: int = 999, frames: int = 20) -> Speech:
        text = text_frames(self.checkpoint.tokenizer, self.checkpoint.config, f"Text {seed}.", 0)
        for _ in self.runner.prefill(slot, cut(text, 0, -1), 0):
            pass
        speech = Speech(lambda: None, frame_s=FRAME_S, lead_s=lead * FRAME_S)
        how = SamplingOptions(seed=seed)
        self.replies.begin(slot, cut(text, -1), speech, how, segment=0, frames=frames)
        return speech

    def step(self) -> None:
        self.replies.attend()
        self.replies.step()

    def finish(self) -> None:
        self.replies.attend()
        while not self.replies.idle:
            self.step()

    def alone(self, seed: int, frames: int = 20) -> np.ndarray:
        return said_alone(self.checkpoint, seed, frames)


@cache
def said_alone(checkpoint, seed: int, frames: int) -> np.ndarray:
    stage = Stage(checkpoint, late=False)
    speech = stage.begin(0, seed, frames=frames)
    stage.finish()
    return speech.codes


@pytest.fixture
def stage(pair) -> Callable[..., Stage]:
    return lambda *, late: Stage(pair().checkpoint, late=late)


@pytest.fixture(params=[False, True], ids=["at once", "late"])
def either(request, stage) -> Stage:
    return stage(late=request.param)


def test_at_once_each_step_is_read_before_the_next(stage):
    at_once = stage(late=False)
    speech = at_once.begin(0, seed=1)
    for frames in range(1, 4):
        at_once.step()
        assert speech.made == at_once.replies.steps == frames


def test_late_the_next_step_is_launched_first(stage):
    late = stage(late=True)
    speech = late.begin(0, seed=1)
    for steps in range(1, 4):
        late.step()
        assert late.replies.steps == steps
        assert speech.made == steps - 1


def test_late_or_not_codes_and_endings_are_the_same(stage):
    said = []
    for late in (False, True):
        both = stage(late=late)
        speeches = [both.begin(slot, seed=slot, frames=5 + 40 * slot) for slot in range(3)]
        both.finish()
        said.append([(s.codes.tolist(), s.ending) for s in speeches])
    assert said[0] == said[1]
    assert {ending for _, ending in said[0]} >= {"limit"}


def test_the_last_frame_waits_for_no_other_step(stage):
    late = stage(late=True)
    speech = late.begin(0, seed=1, lead=1)
    late.step()
    assert speech.made == 0
    late.step()
    assert (speech.made, late.replies.steps) == (1, 1), "the lead holds the next one back"
    assert late.replies.idle


def test_a_frame_in_flight_counts_as_one_that_waits(either):
    speech = either.begin(0, seed=1, lead=3, frames=7)
    either.finish()
    assert speech.made == 3
    frames = []
    while (frame := speech.take()) is not None:
        frames.append(frame.codes)
        either.finish()
        assert len(frames) + 3 >= speech.made
    assert np.array_equal(frames, either.alone(1, frames=7))


def test_a_slot_given_to_another_does_not_give_him_the_frame_that_was_in_flight(stage):
    late = stage(late=True)
    first = late.begin(0, seed=1)
    for _ in range(3):
        late.step()
    first.cancel()
    late.replies.attend()
    assert (first.ending, first.made) == ("cancelled", 2), "of the third nobody was told"
    second = late.begin(0, seed=2)
    late.step()
    assert second.made == 0
    late.finish()
    assert np.array_equal(second.codes, late.alone(2))
    assert np.array_equal(first.codes, late.alone(1)[:2])


def test_a_paused_reply_can_be_cancelled_and_makes_no_step(either):
    speech = either.begin(0, seed=1, lead=2)
    either.finish()
    steps = either.replies.steps
    speech.cancel()
    either.finish()
    assert speech.ending == "cancelled"
    assert either.replies.steps == steps
    assert len(either.replies) == 0


def test_a_step_that_cannot_be_launched_still_lets_the_last_one_be_heard(stage, monkeypatch):
    late = stage(late=True)
    speech = late.begin(0, seed=1)
    late.step()
    monkeypatch.setattr(late.runner, "step", lambda: 1 / 0)
    late.step()
    assert speech.ending == "failed"
    assert speech.take() is not None
    with pytest.raises(CSMError, match="failed while it spoke"):
        speech.take()
    assert late.replies.idle


def test_a_step_that_cannot_be_read_fails_all_that_are_made(either, monkeypatch):
    speeches = [either.begin(slot, seed=slot) for slot in range(3)]
    either.step()
    with monkeypatch.context() as patch:
        patch.setattr(Pending, "read", lambda _: 1 / 0)
        either.step()
    assert [speech.ending for speech in speeches] == ["failed"] * 3
    either.finish()
    again = either.begin(1, seed=9)
    either.finish()
    assert np.array_equal(again.codes, either.alone(9))


class SlowDevice:
    """A stage whose steps take so long by the clock, which notes who takes part in each.

    A step of slot 1 alone takes a third of the time.
    """

    def __init__(self, checkpoint, *, late: bool, step_s: float) -> None:
        self.now_s = 0.0
        self.step_s = step_s
        self.stage = Stage(checkpoint, late=late, clock=lambda: self.now_s)
        self.took_part: list[set[int]] = []
        self._step = self.stage.runner.step
        self.stage.runner.step = self._slow_step

    def _slow_step(self):
        self.took_part.append(set(self.stage.replies._running))
        self.now_s += self.step_s / 3 if self.took_part[-1] == {1} else self.step_s
        return self._step()


@pytest.mark.parametrize("late", [False, True])
def test_on_a_device_that_does_not_keep_up_who_is_ahead_waits_for_who_is_not(pair, late):
    device = SlowDevice(pair().checkpoint, late=late, step_s=1.5 * FRAME_S)
    stage = device.stage
    ahead = stage.begin(0, seed=1, frames=60)
    while ahead.made < 30:
        stage.step()
    began = len(device.took_part)
    behind = stage.begin(1, seed=2, frames=60)
    while behind.made < 25:
        stage.step()
    assert all(who == {1} for who in device.took_part[began : began + 25])
    stage.finish()
    assert device.took_part[began + 27] == {0, 1}, "both are comfortable"
    assert np.array_equal(ahead.codes, stage.alone(1, frames=60))
    assert np.array_equal(behind.codes, stage.alone(2, frames=60))


@pytest.mark.parametrize("late", [False, True])
def test_on_one_that_keeps_up_all_step_together(pair, late):
    device = SlowDevice(pair().checkpoint, late=late, step_s=0.7 * FRAME_S)
    stage = device.stage
    first = stage.begin(0, seed=1, frames=60)
    while first.made < 30:
        stage.step()
    began = len(device.took_part)
    second = stage.begin(1, seed=2, frames=20)
    while second.made < 19:
        stage.step()
    assert all(who == {0, 1} for who in device.took_part[began:])


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    late=st.booleans(),
    # The time of each step, in frames; and who takes how many then.
    course=st.lists(
        st.tuples(st.floats(0.5, 2.0), st.integers(0, 2), st.integers(0, 9)), max_size=60
    ),
)
def test_codes_do_not_depend_on_who_waits_for_whom(pair, late, course):
    device = SlowDevice(pair().checkpoint, late=late, step_s=1.5 * FRAME_S)
    stage, lengths = device.stage, (50, 35, 40)
    speeches = [
        stage.begin(slot, seed=slot, lead=30, frames=length) for slot, length in enumerate(lengths)
    ]

    def take(speech: Speech) -> None:
        with contextlib.suppress(TimeoutError):
            speech.take(0)

    for frames, slot, count in course:
        device.step_s = frames * FRAME_S
        stage.step()
        for _ in range(count):
            take(speeches[slot])
    while any(speech.ending is None for speech in speeches):
        stage.step()
        for speech in speeches:
            take(speech)
    for slot, (speech, length) in enumerate(zip(speeches, lengths, strict=True)):
        assert np.array_equal(speech.codes, stage.alone(slot, frames=length))
