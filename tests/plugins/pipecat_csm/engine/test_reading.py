"""Whose context is read next, chunk by chunk; without the engine's thread."""

from concurrent.futures import Future

import pytest
import torch
from pipecat_csm.engine.reading import Readings
from pipecat_csm.engine.runner import Runner
from pipecat_csm.engine.schedule import Turn
from pipecat_csm.errors import ContextError, EngineClosedError
from pipecat_csm.model.prompt import Prompt, audio_frames

CHUNK = 256


class Line:
    """Readings on a runner of four slots, at a time that is set."""

    def __init__(self, checkpoint) -> None:
        self.now_s = 0.0
        self.runner = Runner(checkpoint.model, slots=4)
        self.readings = Readings(self.runner, lambda: self.now_s)
        self.config = checkpoint.config

    def add(self, slot: int, turn: Turn, chunks: int = 2) -> Future[None]:
        done: Future[None] = Future()
        self.readings.add(slot, self.prompt(chunks * CHUNK), 0, done, turn)
        return done

    def prompt(self, rows: int) -> Prompt:
        codes = torch.ones(rows, self.config.codebooks, dtype=torch.long)
        return audio_frames(self.config, codes, closed=False)

    def next(self) -> int:
        """Reads a chunk, and says into which slot."""
        before = list(self.runner._position)
        self.readings.read_a_chunk()
        (slot,) = (i for i, at in enumerate(self.runner._position) if at != before[i])
        return slot

    def rest(self) -> list[int]:
        order = []
        while self.readings:
            order.append(self.next())
        return order


@pytest.fixture
def line(pair) -> Line:
    return Line(pair().checkpoint)


def waits(buffered_s: float = 0.0) -> Turn:
    return Turn(lambda: buffered_s)


def test_who_waits_comes_first_with_the_smallest_buffer_and_then_what_is_read_ahead(line):
    done = [line.add(0, Turn()), line.add(1, waits(9.0)), line.add(2, waits(4.0))]
    assert line.rest() == [2, 2, 1, 1, 0, 0]
    assert all(future.result(0) is None for future in done)


def test_a_long_context_does_not_hold_up_a_short_one(line):
    line.add(0, waits(), chunks=5)
    assert [line.next() for _ in range(2)] == [0, 0]
    line.now_s = 1.0
    line.add(1, waits(), chunks=1)
    assert line.rest() == [0, 1, 0, 0]


def test_what_is_read_ahead_is_hurried_when_it_is_waited_for(line):
    line.add(0, waits(2.0))
    line.add(3, Turn())
    assert line.next() == 0
    line.readings.hurry(3, lambda: 0.0)
    assert line.rest() == [3, 3, 0]


def test_who_stops_is_told_and_the_others_are_read(line):
    stopped, done = line.add(0, waits()), line.add(1, waits())
    line.next()
    line.readings.stop(0)
    with pytest.raises(EngineClosedError):
        stopped.result(0)
    assert set(line.rest()) == {1}
    assert done.result(0) is None


def test_what_does_not_fit_harms_nobody_else(line):
    too_long, done = line.add(0, waits(), chunks=9), line.add(1, waits())
    line.readings.read_a_chunk()
    with pytest.raises(ContextError, match="Leave out"):
        too_long.result(0)
    assert set(line.rest()) == {1}
    assert done.result(0) is None


def test_closing_tells_everyone(line):
    futures = [line.add(slot, waits()) for slot in range(3)]
    line.readings.close()
    assert not line.readings
    for future in futures:
        with pytest.raises(EngineClosedError):
            future.result(0)
