"""How much of each reply has reached the caller's ear."""

import time
from collections.abc import Callable
from dataclasses import dataclass

# Devices report in steps of their own.
_ROUNDING_S = 0.04
# A device that reports says so within this time when it has played all there is.
_REPORT_WITHIN_S = 0.5


@dataclass
class _Reply:
    """One reply on its way to the ear.

    Attributes:
        begins_s: Where it begins in all that was sent.
        since_s: When the transport first sent something of it.
        latest_s: When it last did.
        sent_s: Seconds that the transport has sent of it.
        heard_s: Seconds that were heard when the device reported last.
    """

    begins_s: float
    since_s: float | None = None
    latest_s: float = 0.0
    sent_s: float = 0.0
    heard_s: float = 0.0


class Playout:
    """A model of the caller's loudspeaker, set right by what it reports.

    What is sent plays in its order, from `buffer_s` after it was sent, at the pace of time, until
    nothing is left. A device that says where it is (`confirm`) is believed, and the model goes on
    from there; one that says nothing, or nothing more, is estimated by that. An interruption has
    the device drop what it holds: end all replies then, and none of it will have been heard.
    """

    def __init__(self, buffer_s: float = 0.2, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is playing.

        Args:
            buffer_s: What lies between the transport and the ear of a device that reports nothing:
                network, jitter buffer and sound card. On one machine, Chromium plays what it got
                over WebRTC after 0.04 to 0.12 s (its jitter buffer holds 0.085 s), over a websocket
                after 0.03 s, and its sound card adds 0.03 s. The rest is for a network.
            clock: Tells seconds.
        """
        self.buffer_s = buffer_s
        self._clock = clock
        self._replies: dict[str, _Reply] = {}
        # Of all that was sent since nothing was playing: how much, how much of it the device has
        # said that it played, and how much the model has played, at which time.
        self._sent_s = 0.0
        self._confirmed_s: float | None = None
        self._played_s = 0.0
        self._at_s = 0.0

    @property
    def audible(self) -> bool:
        """Whether the caller hears anything of any reply now."""
        return any(self.left_s(reply) > 0 for reply in self._replies)

    def begin(self, reply: str) -> None:
        """A reply is about to be sent, behind all that was sent before."""
        self._replies.setdefault(reply, _Reply(self._sent_s))

    def sent(self, reply: str, seconds: float) -> float:
        """So much more of it was sent; returns how much in all."""
        self.begin(reply)
        now = self._clock()
        if (played_s := self._played_by(now)) >= self._sent_s:
            self._played_s, self._at_s = played_s, now + self.buffer_s
        self._sent_s += seconds
        playing = self._replies[reply]
        if playing.since_s is None:
            playing.since_s = now
        playing.latest_s = now
        playing.sent_s += seconds
        return playing.sent_s

    def sent_s(self, reply: str) -> float:
        """How much of it was sent until now."""
        playing = self._replies.get(reply)
        return playing.sent_s if playing else 0.0

    def late_s(self, reply: str, *, waits: bool) -> float:
        """By how much its sending is behind the pace of time since it began; 0 if it is not.

        A language model that takes its time over the next sentence, or a machine that stands still
        for a moment, makes all that follows so much later.

        Args:
            reply: Its name.
            waits: Whether there is nothing more to send yet, so that it falls behind as time goes
                by; a transport that has something to send may be about to catch up.
        """
        playing = self._replies.get(reply)
        if playing is None or playing.since_s is None:
            return 0.0
        until_s = self._clock() if waits else playing.latest_s
        return max(0.0, until_s - playing.since_s - playing.sent_s)

    def confirm(self, reply: str, seconds: float) -> None:
        """The caller's device has played so much of it.

        What cannot be is ignored: a reply that has ended, a time before the last one, no number.
        More than was sent counts as all of it.
        """
        playing = self._replies.get(reply)
        if playing is None or not seconds >= 0:
            return
        played_s = playing.begins_s + min(seconds, playing.sent_s)
        if played_s < (self._confirmed_s or 0.0):
            return
        for each in self._replies:
            self._replies[each].heard_s = self.heard_s(each)
        self._confirmed_s = self._played_s = played_s
        self._at_s = self._clock()

    def heard_s(self, reply: str) -> float:
        """How much of it was heard until now; never less than before, and never more than sent."""
        playing = self._replies.get(reply)
        if playing is None:
            return 0.0
        heard_s = min(self._played_by(self._clock()) - playing.begins_s, playing.sent_s)
        return max(playing.heard_s, heard_s)

    def left_s(self, reply: str) -> float:
        """How long it takes until all that was sent has been heard; 0 if it has."""
        playing = self._replies.get(reply)
        if playing is None or not playing.sent_s:
            return 0.0
        ends_s = playing.begins_s + playing.sent_s
        left_s = self._at_s + ends_s - self._played_s - self._clock()
        if self._confirmed_s is not None:
            left_s += _REPORT_WITHIN_S
            if self._confirmed_s >= ends_s - _ROUNDING_S:
                return 0.0
        return max(0.0, left_s)

    def dry_s(self, reply: str) -> float:
        """For how long all that was sent of it has been heard; 0 if there is something to hear."""
        playing = self._replies.get(reply)
        if playing is None or not playing.sent_s:
            return 0.0
        ends_s = playing.begins_s + playing.sent_s
        return max(0.0, self._clock() - self._at_s - (ends_s - self._played_s))

    def end(self, reply: str) -> None:
        """Forgets it. Once none is left, nothing is playing: what was not heard never will be."""
        self._replies.pop(reply, None)
        if not self._replies:
            self._sent_s = self._played_s = 0.0
            self._confirmed_s = None

    def _played_by(self, now: float) -> float:
        return min(self._sent_s, self._played_s + max(0.0, now - self._at_s))
