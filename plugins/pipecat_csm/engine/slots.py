"""Which slots of the device are whose."""

import threading
from dataclasses import dataclass

from pipecat_csm.errors import EngineBusyError


@dataclass(frozen=True)
class Occupancy:
    """How busy the engine is.

    Attributes:
        slots: Sessions that it can hold.
        open: Sessions that it holds.
        speaking: Replies that are being made.
    """

    slots: int
    open: int
    speaking: int


class Slots:
    """The lowest slots are the sessions', so that buckets stay small; the last ones are spare."""

    def __init__(self, slots: int, spares: int) -> None:
        """All are free.

        Raises:
            ValueError: No slot is left for a session.
        """
        if not 0 <= spares < slots:
            raise ValueError(f"{spares} of {slots} slots cannot be spare.")
        self.sessions = slots - spares
        self._free = list(range(self.sessions))
        self._spare = list(range(self.sessions, slots))
        self._lock = threading.Lock()

    def take(self) -> int:
        """A session's slot: the lowest.

        Raises:
            EngineBusyError: All are taken.
        """
        with self._lock:
            if not self._free:
                raise EngineBusyError(
                    f"All {self.sessions} sessions of the voice are taken; try again later."
                )
            self._free.sort()
            return self._free.pop(0)

    def borrow(self) -> int | None:
        """A spare slot; None if all are in use."""
        with self._lock:
            return self._spare.pop() if self._spare else None

    def give_back(self, slot: int) -> None:
        """Takes a slot of either kind back."""
        with self._lock:
            (self._free if slot < self.sessions else self._spare).append(slot)
