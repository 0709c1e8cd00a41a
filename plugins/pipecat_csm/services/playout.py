"""How much of each reply has reached the caller's ear."""

import time
from collections.abc import Callable
from dataclasses import dataclass

# Devices report in steps of their own.
_ROUNDING_S = 0.04


@dataclass
class _Playing:
    """One reply on its way out.

    Attributes:
        sent_s: Seconds that the transport has sent.
        began_s: When the first of it was sent.
        last_s: When the last of it was sent.
        confirmed_s: What the caller's device has said it played; None if it says nothing.
    """

    sent_s: float = 0.0
    began_s: float | None = None
    last_s: float = 0.0
    confirmed_s: float | None = None


class Playout:
    """Counts what is sent of each reply, and what the caller's device confirms.

    What was heard is what the device confirms. One that confirms nothing has heard what was sent,
    less what lies in its buffers.
    """

    def __init__(self, buffer_s: float = 0.2, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is playing.

        Args:
            buffer_s: What lies between the transport and the ear.
            clock: Tells seconds.
        """
        self.buffer_s = buffer_s
        self._clock = clock
        self._replies: dict[str, _Playing] = {}

    def begin(self, reply: str) -> None:
        """A reply is about to be sent."""
        self._replies.setdefault(reply, _Playing())

    def sent(self, reply: str, seconds: float) -> float:
        """So much more of it was sent; returns how much in all."""
        playing = self._replies.setdefault(reply, _Playing())
        playing.last_s = self._clock()
        if playing.began_s is None:
            playing.began_s = playing.last_s
        playing.sent_s += seconds
        return playing.sent_s

    def sent_s(self, reply: str) -> float:
        """How much of it was sent until now."""
        playing = self._replies.get(reply)
        return playing.sent_s if playing else 0.0

    def confirm(self, reply: str, seconds: float) -> None:
        """The caller's device has played so much of it; never less than it said before."""
        playing = self._replies.get(reply)
        if playing is not None:
            known = playing.confirmed_s or 0.0
            playing.confirmed_s = max(known, min(seconds, playing.sent_s))

    def heard_s(self, reply: str) -> float:
        """How much of it was heard until now."""
        playing = self._replies.get(reply)
        if playing is None or playing.began_s is None:
            return 0.0
        if playing.confirmed_s is not None:
            return playing.confirmed_s
        # Sound sent faster than it plays is not heard faster.
        elapsed = self._clock() - playing.began_s
        return max(0.0, min(playing.sent_s, elapsed) - self.buffer_s)

    def left_s(self, reply: str) -> float:
        """How long it takes until all that was sent has been heard; 0 if it has."""
        playing = self._replies.get(reply)
        if playing is None or playing.began_s is None:
            return 0.0
        if playing.confirmed_s is not None and playing.confirmed_s >= playing.sent_s - _ROUNDING_S:
            return 0.0
        ends_s = max(playing.began_s + playing.sent_s, playing.last_s) + self.buffer_s
        return max(0.0, ends_s - self._clock())

    def end(self, reply: str) -> None:
        """Forgets it."""
        self._replies.pop(reply, None)
