"""Which character is being spoken in which frame.

Kokoro says when each word begins and ends; within a word its letters are spread evenly, which is
never more than a letter or two wrong. From this one head of the backbone is taught where to look
(see `losses`), which a model of this size would otherwise spend most of its hours to find out, or
never: the first one spoke fluently, and not what was written.
"""

import numpy as np
from numpy.typing import NDArray

from scripts.mini_training.data.corpus import Utterance

_FRAME_MS = 80.0


def letters_spoken(one: Utterance, shift_ms: float, frames: int) -> NDArray[np.int64]:
    """The index in the text of the character that each frame is in the middle of, or nearest to.

    Args:
        one: The utterance.
        shift_ms: How much silence was put before it.
        frames: How many there are.

    Returns:
        int64 [frames], never decreasing.
    """
    at_ms: list[float] = []
    letters: list[float] = []
    end = 0
    for word, (begins_ms, ends_ms) in zip(one.text.split(), one.words_ms, strict=True):
        start = one.text.index(word, end)
        end = start + len(word)
        at_ms += [begins_ms, ends_ms]
        letters += [start, end - 0.01]
    middle_ms = _FRAME_MS * (np.arange(frames) + 0.5) - shift_ms
    found = np.interp(middle_ms, np.maximum.accumulate(at_ms), letters)
    return np.floor(found).astype(np.int64)
