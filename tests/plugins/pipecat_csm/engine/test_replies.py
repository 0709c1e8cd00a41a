"""Steps one by one, without the thread: what is launched, what is read, and whose it is."""

from collections.abc import Callable

import numpy as np
import pytest
from pipecat_csm.engine.fetch import Pending
from pipecat_csm.engine.replies import Replies
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import CSMError
from pipecat_csm.model.prompt import text_frames


class Stage:
    """A runner of three slots, and the replies on it."""

    def __init__(self, checkpoint, *, late: bool) -> None:
        self.checkpoint = checkpoint
        self.runner = Runner(checkpoint.model, slots=3)
        self.replies = Replies(self.runner, late=late)

    def begin(self, slot: int, seed: int, *, lead: int = 999, frames: int = 20) -> Speech:
        text = text_frames(self.checkpoint.tokenizer, self.checkpoint.config, f"Text {seed}.", 0)
        for _ in self.runner.prefill(slot, cut(text, 0, -1), 0):
            pass
        speech = Speech(lambda: None, frame_s=1.0, lead_s=lead)
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
        stage = Stage(self.checkpoint, late=False)
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
