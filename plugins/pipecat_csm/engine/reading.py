"""The contexts that are being read, chunk by chunk between frames."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from pipecat_csm.engine.memory import in_words
from pipecat_csm.engine.runner import Runner
from pipecat_csm.engine.schedule import Turn, next_turn
from pipecat_csm.errors import EngineClosedError
from pipecat_csm.model.prompt import Prompt


@dataclass(frozen=True)
class _Reading:
    """A context that is being read into a slot."""

    slot: int
    chunks: Iterator[None]
    done: Future[None]
    turn: Turn


class Readings:
    """All of them, in line. For the engine's thread alone."""

    def __init__(self, runner: Runner, clock: Callable[[], float]) -> None:
        """Nothing is to be read."""
        self._runner = runner
        self._clock = clock
        self._line: list[_Reading] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._line)

    def add(self, slot: int, prompt: Prompt, at: int, done: Future[None], turn: Turn) -> None:
        """Has a slot read a prompt from a position on, when it is its turn, and says when done."""
        self._line.append(_Reading(slot, self._runner.prefill(slot, prompt, at), done, turn))

    def hurry(self, slot: int, buffered_s: Callable[[], float]) -> None:
        """Somebody waits now for what was read ahead into a slot; see `Turn`."""
        for reading in self._line:
            if reading.slot == slot:
                reading.turn.hurry(buffered_s)

    def read_a_chunk(self) -> None:
        """Reads the next chunk of whose turn it is, if there is any."""
        if not self._line:
            return
        reading = self._line.pop(next_turn([r.turn for r in self._line], self._clock()))
        try:
            next(reading.chunks)
        except StopIteration:
            reading.done.set_result(None)
        except Exception as error:
            reading.done.set_exception(in_words(error, "while it read a context"))
        else:
            reading.turn.served()
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
