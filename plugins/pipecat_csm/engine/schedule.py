"""Who is served first: pure decisions on playout buffers and times, no tensors, no threads.

A playout buffer is what is made of a reply and not yet played, in seconds. Whose buffer is the
smallest falls silent first; whoever does not speak is silent already. Which codes a session gets
never depends on what is decided here.
"""

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence

# Steps whose times are looked at: of five, two may be slow by chance.
_RECENT = 5
# Too slow is a step that takes a frame's time; quick again is one with a fifth to spare.
_QUICK = 0.8
# Who has two seconds ahead may wait until it is one, at 12.5 frames a second.
_COMFORTABLE_FRAMES = 25
_LOW_FRAMES = 12


class Turn:
    """A place in the line of those for whom something is to be read, chunk by chunk."""

    def __init__(self, buffered_s: Callable[[], float] | None = None) -> None:
        """Joins the line.

        Args:
            buffered_s: The playout buffer of whoever waits; None where nobody does: it is read
                ahead, for later.
        """
        self._buffered_s = buffered_s
        self._silent_at_s = math.inf

    def hurry(self, buffered_s: Callable[[], float]) -> None:
        """Now somebody waits."""
        self._buffered_s = buffered_s

    def served(self) -> None:
        """Had a chunk, and joins the line anew: a long context does not hold up a short one."""
        self._silent_at_s = math.inf

    def rank(self, now_s: float) -> tuple[bool, float]:
        """The lowest of a line is the next.

        First those for whom somebody waits, by the time at which he hears silence. A buffer that
        drains more slowly than time goes does not put that off, so that nobody waits for ever
        behind those who come later.
        """
        if self._buffered_s is None:
            return True, 0.0
        self._silent_at_s = min(self._silent_at_s, now_s + self._buffered_s())
        return False, self._silent_at_s


def next_turn(line: Sequence[Turn], now_s: float) -> int:
    """The index of whose turn it is; of equals the first. All of the line is looked at."""
    ranks = [turn.rank(now_s) for turn in line]
    return ranks.index(min(ranks))


class Pace:
    """Who takes part in the next step.

    All who speak, as long as the device makes a step in less time than a frame lasts. When it does
    not, those who are comfortably ahead wait for the others: fewer slots are stepped faster.
    """

    def __init__(self, frame_s: float) -> None:
        """The device is taken to keep up until it is seen not to."""
        self.strained = False
        """Whether the device does not keep up when all step."""
        self._frame_s = frame_s
        self._recent_s: deque[float] = deque(maxlen=_RECENT)
        self._comfortable: set[int] = set()

    def choose(self, buffered_s: Mapping[int, float]) -> set[int]:
        """Of those who may go on, by slot, those who do."""
        self._comfortable = {
            slot
            for slot, ahead_s in buffered_s.items()
            if ahead_s >= self._frame_s * self._enough(slot)
        }
        if not self.strained:
            return set(buffered_s)
        # Where all are comfortable nobody has to wait, and the device is tried with all again.
        return set(buffered_s) - self._comfortable or set(buffered_s)

    def note(self, step_s: float) -> None:
        """Takes the time of a step in which all who might took part."""
        self._recent_s.append(step_s)
        if len(self._recent_s) == _RECENT:
            bound_s = self._frame_s * (_QUICK if self.strained else 1.0)
            self.strained = statistics.median(self._recent_s) > bound_s

    def _enough(self, slot: int) -> int:
        return _LOW_FRAMES if slot in self._comfortable else _COMFORTABLE_FRAMES
