"""Steps that are replayed: what must hold of graphs, shown with a capture that a CPU can do."""

import pytest
import torch
from pipecat_csm.engine.graphs import GraphedStep
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.model.prompt import text_frames

HOW = SamplingOptions(seed=3)


class Tape:
    """Captures as CUDA does: the work runs while it is recorded, and has no other input later."""

    def __init__(self) -> None:
        self.captured = 0
        self.replayed = 0

    def __call__(self, work):
        self.captured += 1
        for _ in range(3):
            work()

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def checkpoint(pair):
    return pair("small", torch.float64).checkpoint


def runner_of(checkpoint, **kwargs) -> Runner:
    return Runner(checkpoint.model, slots=4, **kwargs)


def speak(runner: Runner, checkpoint, slot: int, text: str = "Hello there.") -> None:
    prompt = text_frames(checkpoint.tokenizer, checkpoint.config, text, slot)
    for _ in runner.prefill(slot, cut(prompt, 0, -1), 0):
        pass
    runner.begin(slot, cut(prompt, -1), HOW, segment=0, frames=1000)


def frames(runner: Runner, steps: int) -> torch.Tensor:
    return torch.stack([runner.step().audio.clone() for _ in range(steps)])


def test_a_replayed_frame_is_the_frame(checkpoint, tape):
    sounds = []
    for step in ({}, {"step": GraphedStep(capture=tape)}):
        runner = runner_of(checkpoint, **step)
        speak(runner, checkpoint, 0)
        alone = frames(runner, 5)
        # Another joins between two frames, and a graph for two is captured while the first speaks.
        speak(runner, checkpoint, 1, "And hello to you.")
        both = frames(runner, 5)
        runner.pause(1)
        sounds.append(torch.cat((alone, both, frames(runner, 5))))
    assert torch.equal(*sounds)
    assert sounds[0].abs().max() > 0
    assert (tape.captured, tape.replayed) == (2, 15)


def test_each_kind_is_captured_once(checkpoint, tape):
    step = GraphedStep(capture=tape)
    runner = runner_of(checkpoint, step=step)
    speak(runner, checkpoint, 0)
    frames(runner, 3)
    assert step.graphs == 1
    speak(runner, checkpoint, 1)
    frames(runner, 3)
    assert step.graphs == 2, "another bucket"
    runner.pause(1)
    speak(runner, checkpoint, 0, "A text that reaches further. " * 12)
    frames(runner, 3)
    assert step.graphs == 3, "another span"
    assert tape.captured == 3


def test_a_graph_stays_with_its_state(checkpoint, tape):
    step = GraphedStep(capture=tape)
    known, other = (runner_of(checkpoint, step=step) for _ in range(2))
    for runner in (known, other):
        speak(runner, checkpoint, 0)
    known.step()
    with pytest.raises(ValueError, match="captured with"):
        other.step()


def test_warming_up_builds_everything_and_leaves_no_trace(checkpoint, tape):
    step = GraphedStep(capture=tape)
    runner, fresh = runner_of(checkpoint, step=step), runner_of(checkpoint)
    told: list[tuple[int, int]] = []
    runner.warm_up(progress=lambda done, count: told.append((done, count)))
    # Buckets of 1, 2 and 4 slots, spans of 256, 512, 1,024 and 2,048 positions.
    assert step.graphs == 12
    assert told == [(i, 15) for i in range(16)]
    for either in (runner, fresh):
        speak(either, checkpoint, 2)
    assert torch.equal(frames(runner, 8), frames(fresh, 8))
    assert step.graphs == 12


def test_no_more_is_built_than_may_speak_at_once(checkpoint, tape):
    step = GraphedStep(capture=tape)
    runner = runner_of(checkpoint, step=step)
    runner.warm_up(sessions=2)
    assert step.graphs == 8


def test_what_fails_to_be_captured_leaves_the_slots_as_they_were(checkpoint):
    def broken(work):
        work()
        raise RuntimeError("no graph today")

    runner = runner_of(checkpoint, step=GraphedStep(capture=broken))
    speak(runner, checkpoint, 0)
    position = runner.state.position.clone()
    with pytest.raises(RuntimeError, match="no graph today"):
        runner.step()
    assert runner.state.running[0]
    assert torch.equal(runner.state.position, position)
