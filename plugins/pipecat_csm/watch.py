"""Whether a generation has run away: CSM does not always find the end of a text.

Without a reference voice, a sixth of CSM-1B's generations never stop (sgl-project/sglang-omni,
pull request 800); they repeat themselves, fall silent, or babble on. Each bound here is well beyond
what speech does, because ending a good sentence is worse than a second of silence.
"""

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from pipecat_csm.text import CHARS_PER_S, spoken_chars

if TYPE_CHECKING:
    import numpy as np

_FRAME_HZ = 12.5

# One second of identical frames. 32 sampled codes do not come out alike even in a pause; greedy
# ones may in a short one.
REPEATED_FRAMES = 12
# A loop may also be longer than a frame: up to this many frames, over and over. Drawn-out vowels
# and laughter vary in the finer codebooks.
LONGEST_LOOP_FRAMES = 4
# Quieter than breath at the loudness of a Segment (-23 dBFS), louder than a codec's silence.
SILENCE_DBFS = -45.0
# Speakers pause for effect up to two seconds.
SILENCE_S = 3.0
# They breathe, or hesitate, before they begin.
NO_SPEECH_S = 4.0
# Five characters a second is slower than anyone reads aloud; the rest is for a word or two, of
# which the length says little.
SLOWEST = 3.0
SPARE_S = 3.0


class Runaway(StrEnum):
    """How a generation ran away."""

    REPEATED = "the same frames again and again"
    SILENT = "silence after the speech"
    NO_SPEECH = "silence from the start"
    TOO_LONG = "far longer than the text"


class RunawayWatch:
    """Watches one generation, frame by frame. What it remembers does not grow."""

    def __init__(self, text: str) -> None:
        """Begins with the text that is to be spoken, normalised."""
        self.max_frames = max_frames(text)
        self._frames = 0
        self._recent: deque[tuple[int, ...]] = deque(maxlen=LONGEST_LOOP_FRAMES)
        self._repeats = [0] * LONGEST_LOOP_FRAMES  # by the length of the loop
        self._silent_frames = 0
        self._has_spoken = False
        self._found: Runaway | None = None

    def feed(self, codes: "Sequence[int] | np.ndarray", rms: float | None = None) -> Runaway | None:
        """Takes the next frame; says how the generation has run away, from then on always.

        Args:
            codes: [codebooks].
            rms: Of the frame's samples, the full scale at 1. NaN is silence; None says nothing.
        """
        self._frames += 1
        repeated = self._is_repeated(tuple(map(int, codes)))
        silent = rms is not None and self._is_silent(rms)
        if self._found is None:
            if repeated:
                self._found = Runaway.REPEATED
            elif silent:
                self._found = Runaway.SILENT if self._has_spoken else Runaway.NO_SPEECH
            elif self._frames > self.max_frames:
                self._found = Runaway.TOO_LONG
        return self._found

    def _is_repeated(self, frame: tuple[int, ...]) -> bool:
        for loop, earlier in enumerate(reversed(self._recent)):
            self._repeats[loop] = self._repeats[loop] + 1 if earlier == frame else 0
        self._recent.append(frame)
        return 1 + max(self._repeats) >= REPEATED_FRAMES

    def _is_silent(self, rms: float) -> bool:
        if rms >= 10 ** (SILENCE_DBFS / 20):
            self._has_spoken, self._silent_frames = True, 0
            return False
        self._silent_frames += 1
        limit_s = SILENCE_S if self._has_spoken else NO_SPEECH_S
        return self._silent_frames > limit_s * _FRAME_HZ


def max_frames(text: str) -> int:
    """More frames than anyone would need for the text."""
    return int((SLOWEST * spoken_chars(text) / CHARS_PER_S + SPARE_S) * _FRAME_HZ)
