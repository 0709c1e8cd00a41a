"""The contexts that are being read, chunk by chunk between frames."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from pipecat_csm.engine.runner import Runner
from pipecat_csm.errors import EngineClosedError
from pipecat_csm.model.prompt import Prompt


@dataclass(frozen=True)
class _Reading:
    """A context that is being read into a slot."""

    slot: int
    chunks: Iterator[None]
    done: Future[None]


class Readings:
    """All of them, in line. For the engine's thread alone."""

    def __init__(self, runner: Runner) -> None:
        """Nothing is to be read."""
        self._runner = runner
        self._line: deque[_Reading] = deque()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._line)

    def add(self, slot: int, prompt: Prompt, at: int, done: Future[None]) -> None:
        """Has a slot read a prompt from a position on, and says when it is done."""
        self._line.append(_Reading(slot, self._runner.prefill(slot, prompt, at), done))

    def read_a_chunk(self) -> None:
        """Reads the next chunk, if there is any."""
        if not self._line:
            return
        reading = self._line.popleft()
        try:
            next(reading.chunks)
        except StopIteration:
            reading.done.set_result(None)
        except Exception as error:
            reading.done.set_exception(error)
        else:
            # To the end of the line: a long context does not hold up a short one.
            self._line.append(reading)

    def stop(self, slot: int) -> None:
        """Reads no more into a slot, and says so to whoever waits for it."""
        for reading in [reading for reading in self._line if reading.slot == slot]:
            self._line.remove(reading)
            reading.done.set_exception(EngineClosedError("The session or the engine has stopped."))

    def close(self) -> None:
        """Stops everything that is being read."""
        for slot in {reading.slot for reading in self._line}:
            self.stop(slot)
