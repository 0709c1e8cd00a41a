"""One reply while it is made: frames go in on the engine's thread and come out on the caller's."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.errors import CSMError
from pipecat_csm.watch import Runaway, RunawayWatch

LEAD_S = 4.0

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

    A reply pauses when it is `lead_s` ahead of its playing. Unpaced, a frame that is taken counts
    as played; paced, what `report_played` says does, for consumers who pass frames on at once and
    whose queues have no bound. One who is slow or gone has his reply paused, which costs nothing;
    one who goes away for good calls `cancel`.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        frame_s: float,
        lead_s: float = LEAD_S,
        paced: bool = False,
        watch: RunawayWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Made by `Session.speak`.

        Args:
            wake: Called when a paused reply may go on, or has been cancelled.
            frame_s: How long a frame sounds.
            lead_s: How far ahead of its playing it may be; infinite for no bound.
            paced: Whether `report_played` says what was played, rather than `take`.
            watch: Says when it has run away.
            clock: Tells seconds.

        Raises:
            ValueError: The lead is not above 0: nothing would ever be made.
        """
        if not lead_s > 0:
            raise ValueError(f"A reply leads its playing by more than 0 s, not by {lead_s} s.")
        self.runaway: Runaway | None = None
        """Why it was ended as a run-away."""
        self._wake = wake
        self._frame_s = frame_s
        self._lead_s = lead_s
        self._paced = paced
        self._watch = watch
        self._clock = clock
        self._frames: deque[Frame] = deque()
        self._change = threading.Condition()
        self._codes: list[NDArray[np.int64]] = []
        # What was reported, and when anything was last known of the playing.
        self._reported_s: float | None = None
        self._known_at_s = clock()
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
            had_room = self._has_room()
            frame = self._frames.popleft() if self._frames else None
            if not self._paced:
                self._known_at_s = self._clock()
            may_go_on = not had_room and self._has_room()
        if may_go_on:
            self._wake()
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def report_played(self, seconds: float) -> None:
        """Has a paced reply know how much of it was played; an unpaced one takes no notice.

        May be called from any thread, as often as anything is known.

        Args:
            seconds: Since the reply began to be played, in all; below 0 while what was said before
                it still is, which then counts as buffered too. Less than was reported before is
                ignored, and more than was taken counts as all that was.
        """
        with self._change:
            had_room = self._has_room()
            taken_s = (len(self._codes) - len(self._frames)) * self._frame_s
            if seconds > (-math.inf if self._reported_s is None else self._reported_s):
                self._reported_s = min(seconds, taken_s)
                self._known_at_s = self._clock()
            may_go_on = not had_room and self._has_room()
        if may_go_on:
            self._wake()

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
    def buffered_s(self) -> float:
        """Seconds that are made and not yet played."""
        with self._change:
            return self._buffered_s()

    def silent_in_s(self) -> float:
        """In how many seconds its consumer has played what there is, if he goes on playing."""
        with self._change:
            return max(0.0, self._buffered_s() - (self._clock() - self._known_at_s))

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
        """Whether another frame may be made.

        Args:
            in_flight: Frames that are being made already, and not here yet.
        """
        with self._change:
            return self._has_room(in_flight)

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

    # What follows is called with the lock held.

    def _buffered_s(self) -> float:
        if self._paced:
            return len(self._codes) * self._frame_s - (self._reported_s or 0.0)
        return len(self._frames) * self._frame_s

    def _has_room(self, in_flight: int = 0) -> bool:
        # Sums of seconds are not exact: a lead of three frames is full with three.
        return self._buffered_s() + in_flight * self._frame_s < self._lead_s - 1e-6
