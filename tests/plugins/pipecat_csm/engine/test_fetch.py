"""What a step made is on the host before the next step overwrites it."""

import pytest
import torch
from pipecat_csm.engine.fetch import Fetch
from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Made, Runner, SamplingOptions
from pipecat_csm.model.prompt import text_frames

FIELDS = ("codes", "audio", "made", "ended", "running")


@pytest.fixture
def runner(pair):
    """One of its two slots speaks."""
    checkpoint = pair().checkpoint
    runner = Runner(checkpoint.model, slots=2)
    row = cut(text_frames(checkpoint.tokenizer, checkpoint.config, "Hm.", 0), -1)
    runner.begin(0, row, SamplingOptions(), segment=0, frames=100)
    return runner


def copied(made: Made) -> list[torch.Tensor]:
    return [getattr(made, name).clone().cpu() for name in FIELDS]


def test_a_step_is_read_as_it_was_when_it_was_launched(runner):
    fetch = Fetch(runner.state)
    made = runner.step()
    first, pending = copied(made), fetch.begin(made, {})
    runner.pause(0)  # which the device is told after the step
    runner.resume(0)
    second, later = copied(runner.step()), fetch.begin(made, {})
    assert not first[0].equal(second[0])
    assert all(map(torch.equal, copied(pending.read()), first))
    assert all(map(torch.equal, copied(later.read()), second))


def test_a_pause_after_the_launch_is_not_taken_for_an_end(runner):
    pending = Fetch(runner.state).begin(runner.step(), {})
    runner.pause(0)
    assert pending.read().running.tolist() == [True, False]


def test_two_sets_of_buffers_serve_any_number_of_steps(runner):
    fetch = Fetch(runner.state)
    addresses = set()
    for _ in range(5):
        addresses.add(fetch.begin(runner.step(), {}).read().codes.data_ptr())
    assert len(addresses) == 2
