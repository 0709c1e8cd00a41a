"""What a client may send, whichever way it came in: known messages at a pace, sound in time."""

import time
from collections import deque
from collections.abc import Callable

from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame

# What the page says in RTVI; each is rare.
_MESSAGE_TYPES = {"client-ready", "disconnect-bot", "send-text", "client-message"}
_MESSAGES_PER_S = 20
# The page says five times a second how much of a reply it has played.
PLAYOUT_REPORT = "playout"
_REPORTS_PER_S = 10
_MAX_GARBAGE = 50
_BURST_S = 10.0


def is_playout_report(message: object) -> bool:
    """Whether a parsed message reports how much of a reply was played."""
    match message:
        case {"type": "client-message", "data": {"t": kind}}:
            return kind == PLAYOUT_REPORT
    return False


class TooMuchGarbage(ConnectionError):
    """A client that sends nothing we understand is hung up on."""


class ClientMessages:
    """One client's messages: which of them go on, and when he is hung up on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds."""
        self._all = _Pace(_MESSAGES_PER_S, clock)
        self._reports = _Pace(_REPORTS_PER_S, clock)
        self._garbage = 0

    def admit(self, message: object) -> bool:
        """Whether a parsed message is of a known RTVI type, and no faster than the pace."""
        # RTVI has more types, and some of them are audio that would pass by its bound.
        kind = message.get("type") if isinstance(message, dict) else None
        return isinstance(kind, str) and kind in _MESSAGE_TYPES and self.in_pace()

    def in_pace(self) -> bool:
        """Whether one more message keeps to twenty per second; counts it."""
        return self._all.keeps()

    def in_report_pace(self) -> bool:
        """Whether one more report of the playing keeps to ten per second; counts it.

        Those beyond are no garbage: a network that stood still brings them all at once. They have
        a pace of their own so that what the caller types is not refused for them.
        """
        return self._reports.keeps()

    def refuse(self, what: str) -> None:
        """Counts one piece of garbage; the first is said in the log, as `what` it was.

        Raises:
            TooMuchGarbage: It is more than fifty pieces; the conversation ends.
        """
        self._garbage += 1
        if self._garbage == 1:
            logger.warning(f"Ignored {what}.")
        if self._garbage > _MAX_GARBAGE:
            raise TooMuchGarbage("The client sends messages that the agent does not know.")


class _Pace:
    """So many per second, and no more."""

    def __init__(self, per_s: int, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._clock = clock
        self._times: deque[float] = deque(maxlen=per_s)

    def keeps(self) -> bool:
        """Whether one more keeps to it; counts it."""
        now = self._clock()
        is_full = len(self._times) == self._per_s and self._times[0] >= now - 1
        self._times.append(now)
        return not is_full


class AudioPace:
    """Drops sound that arrives faster than anybody can speak it.

    Pipecat's input queue has no bound of its own, so the bound stands here: sound beyond ten
    seconds ahead of the clock is dropped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts the clock at the first sound."""
        self._clock = clock
        self._started_at: float | None = None
        self._heard_s = 0.0
        self._flooding = False

    def admit(self, frame: InputAudioRawFrame) -> bool:
        """Whether a frame of 16-bit sound is in time; counts it if it is."""
        now = self._clock()
        if self._started_at is None:
            self._started_at = now
        elapsed_s = now - self._started_at
        # A microphone that paused must not save up sound to send all at once.
        self._heard_s = max(self._heard_s, elapsed_s - _BURST_S)
        if self._heard_s > elapsed_s + _BURST_S:
            if not self._flooding:
                logger.warning("Dropping microphone audio that arrives faster than real time.")
            self._flooding = True
            return False
        self._flooding = False
        self._heard_s += len(frame.audio) / (2 * frame.num_channels * frame.sample_rate)
        return True
