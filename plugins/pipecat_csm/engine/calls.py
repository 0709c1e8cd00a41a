"""Work for the engine's thread, asked for by others."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from pipecat_csm.engine.memory import in_words
from pipecat_csm.errors import EngineBusyError, EngineClosedError

_AT_ONCE = 1024


@dataclass(frozen=True)
class _Call:
    """Work, and what tells who asked for it how it went."""

    work: Callable[[], None]
    done: Future[None] | None = None


class Calls:
    """A queue of calls. Whoever is refused or forgotten is told so."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self.closed = False
        self.waits = False
        """Whether the thread has nothing to do."""
        self.taken_s = time.monotonic()
        """When the thread last took one, on the monotonic clock."""
        self._queue: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def ask(self, work: Callable[[], None], *, always: bool = False) -> Future[None]:
        """Has the thread do some work; the future is done when that is. See `put`."""
        done: Future[None] = Future()

        def run() -> None:
            work()
            done.set_result(None)

        self.put(run, done, always=always)
        return done

    def put(
        self, work: Callable[[], None], done: Future[None] | None = None, *, always: bool = False
    ) -> None:
        """Has the thread do some work.

        Args:
            work: Sets `done` itself unless it fails.
            done: Of whoever asks.
            always: However much there is to do: it frees something, or helps who waits already.

        Raises:
            EngineBusyError: There is too much to do already.
            EngineClosedError: The engine has stopped.
        """
        with self._lock:  # what is put before the thread refuses the rest is answered
            if self.closed:
                raise EngineClosedError("The engine has stopped.")
            if self._queue.qsize() >= _AT_ONCE and not always:
                raise EngineBusyError("The voice has too much to do; try again later.")
            self._queue.put(_Call(work, done))

    def wake(self) -> None:
        """Has the thread look around."""
        # Where there is that much to do the thread is awake anyway.
        if self._queue.qsize() < _AT_ONCE:
            self._queue.put(_Call(_nothing))

    # What follows is called on the thread.

    def serve(self, *, wait: bool) -> None:
        """Does what was asked for; waits for the first of it only if told to."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.waits = wait
                call = self._queue.get(block=wait)
                self.taken_s = time.monotonic()
                self.waits = wait = False
                try:
                    call.work()
                except Exception as error:  # it is the caller's, and harms nobody else
                    if call.done is not None:
                        call.done.set_exception(in_words(error, "while it was prepared to speak"))

    def refuse(self) -> None:
        """Answers everyone who still waits that the engine has stopped."""
        with self._lock, contextlib.suppress(queue.Empty):
            self.closed = True
            while True:
                done = self._queue.get_nowait().done
                if done is not None:
                    done.set_exception(EngineClosedError("The engine has stopped."))


def _nothing() -> None:
    """A call that only wakes the thread."""
