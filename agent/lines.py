"""How many may talk at once: lines are reserved before any work starts."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

BUSY = "All lines are busy. Please try again in a moment."


class AllLinesBusy(RuntimeError):
    """One caller too many."""

    def __init__(self) -> None:
        """Says so in the words that the caller will read."""
        super().__init__(BUSY)


@dataclass
class Line:
    """One caller's place: reserved first, then taken by his connection."""

    token: str
    persona: str
    expires_at: float
    taken: bool = False


class Lines:
    """A bounded set of lines. A reservation that nobody takes lapses by itself.

    Every call is synchronous and cheap, so one event loop needs no lock.
    """

    def __init__(
        self,
        maximum: int,
        *,
        reservation_s: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens `maximum` lines; an untaken reservation lasts `reservation_s` seconds."""
        self.maximum = maximum
        self._reservation_s = reservation_s
        self._clock = clock
        self._lines: dict[str, Line] = {}

    @property
    def live(self) -> int:
        """Lines that a connection has taken."""
        return sum(line.taken for line in self._lines.values())

    def reserve(self, persona: str) -> Line:
        """Keeps a line free for a caller who is about to connect.

        Raises:
            AllLinesBusy: Every line is taken or reserved.
        """
        now = self._clock()
        for token in [t for t, line in self._lines.items() if not line.taken]:
            if self._lines[token].expires_at <= now:
                del self._lines[token]
        if len(self._lines) >= self.maximum:
            raise AllLinesBusy
        line = Line(secrets.token_urlsafe(18), persona, now + self._reservation_s)
        self._lines[line.token] = line
        return line

    def take(self, token: str) -> Line | None:
        """Takes a reserved line; None if there is no such reservation, or it lapsed or was used."""
        line = self._lines.get(token)
        if line is None or line.taken or line.expires_at <= self._clock():
            return None
        line.taken = True
        return line

    def release(self, line: Line) -> None:
        """Gives a line back; a second time does nothing."""
        self._lines.pop(line.token, None)
