"""One reply while it is made: frames go in on the engine's thread and come out on the caller's."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.errors import CSMError
from pipecat_csm.watch import Runaway, RunawayWatch

Ending = Literal["end", "limit", "cancelled", "run-away", "failed"]


@dataclass(frozen=True)
class Frame:
    """80 ms of speech.

    Attributes:
        codes: int64 [codebooks].
        audio: float32 [samples] at 24 kHz.
    """

    codes: NDArray[np.int64]
    audio: NDArray[np.float32]


class Speech:
    """The frames of one reply, in order, as they come to exist.

    A consumer who does not take them pauses the reply once `lead` frames wait for him; one who
    goes away calls `cancel`.
    """

    def __init__(
        self, lead: int, wake: Callable[[], None], watch: RunawayWatch | None = None
    ) -> None:
        """Made by `Session.speak`.

        Args:
            lead: Frames that may wait to be taken.
            wake: Called when a paused reply may go on, or has been cancelled.
            watch: Says when it has run away.
        """
        self.runaway: Runaway | None = None
        """Why it was ended as a run-away."""
        self._lead = lead
        self._wake = wake
        self._watch = watch
        self._frames: deque[Frame] = deque()
        self._change = threading.Condition()
        self._codes: list[NDArray[np.int64]] = []
        self._ending: Ending | None = None
        self._error: CSMError | None = None
        self._cancelled = False

    def __iter__(self) -> Iterator[Frame]:
        """Every frame, waiting for each; ends when the reply has.

        Raises:
            CSMError: The engine failed in the middle.
        """
        while (frame := self.take()) is not None:
            yield frame

    def take(self, timeout_s: float | None = None) -> Frame | None:
        """The next frame, or None when there is none any more.

        Raises:
            TimeoutError: None came in time.
            CSMError: The engine failed in the middle.
        """
        with self._change:
            if not self._change.wait_for(lambda: self._frames or self._ending, timeout_s):
                raise TimeoutError("No frame came in time.")
            was_full = len(self._frames) >= self._lead
            frame = self._frames.popleft() if self._frames else None
        if was_full:
            self._wake()
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def cancel(self) -> None:
        """Ends the reply between two frames; what has been made can still be taken."""
        self._cancelled = True
        self._wake()

    def wait(self, timeout_s: float | None = None) -> Ending:
        """Waits for the end without taking frames, and says which it was.

        Raises:
            TimeoutError: It did not end in time.
        """
        with self._change:
            if not self._change.wait_for(lambda: self._ending, timeout_s):
                raise TimeoutError("The reply did not end in time.")
        assert self._ending is not None
        return self._ending

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it goes on."""
        return self._ending

    @property
    def codes(self) -> NDArray[np.int64]:
        """Of all frames made until now, taken or not: [frames, codebooks]."""
        with self._change:
            return np.stack(self._codes) if self._codes else np.zeros((0, 0), np.int64)

    @property
    def made(self) -> int:
        """How many frames there are until now."""
        return len(self._codes)

    # What follows is called on the engine's thread.

    @property
    def cancelled(self) -> bool:
        """Whether the consumer wants no more."""
        return self._cancelled

    def has_room(self, in_flight: int) -> bool:
        """Whether it may go on: with those in flight it is less ahead of its consumer than it may.

        Args:
            in_flight: Frames that are being made, and not here yet.
        """
        return len(self._frames) + in_flight < self._lead

    def put(self, frame: Frame) -> None:
        """Adds a frame, and notes whether the reply has run away with it."""
        if self._watch is not None and self.runaway is None:
            loudness = float(np.sqrt(np.mean(np.square(frame.audio))))
            self.runaway = self._watch.feed(frame.codes, loudness)
        with self._change:
            self._frames.append(frame)
            self._codes.append(frame.codes)
            self._change.notify_all()

    def finish(self, ending: Ending, error: CSMError | None = None) -> None:
        """Says that no frame is to come; only the first time counts."""
        with self._change:
            if self._ending is None:
                self._ending, self._error = ending, error
            self._change.notify_all()
