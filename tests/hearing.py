"""What the tests hear: real Whisper, and words compared as a person would."""

import re
from functools import cache
from itertools import pairwise

import numpy as np
import soxr
from faster_whisper import WhisperModel

from agent.models import resolve

_NUMBERS = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "10": "ten"}


@cache
def _whisper() -> WhisperModel:
    path = resolve("tiny.en", "whisper")
    return WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=2)


def hear(audio: np.ndarray, rate: int) -> str:
    """What Whisper hears in float32 [samples]."""
    if not len(audio):
        return ""
    segments, _ = _whisper().transcribe(
        soxr.resample(audio, rate, 16_000).astype(np.float32),
        language="en",
        beam_size=5,
        condition_on_previous_text=False,
    )
    return " ".join(segment.text.strip() for segment in segments)


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; small numbers as words."""
    found: list[str] = re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
    return [_NUMBERS.get(word, word) for word in found]


def word_errors(heard: str, said: str) -> float:
    """Word error rate: edits from what was said to what was heard, per word said."""
    a, b = words(said), words(heard)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y)))
    return row[-1] / max(1, len(a))


def heard_up_to(heard: str, said: str) -> int:
    """How many words of what was said were heard: up to the last two that stand together there.

    Whisper may repeat or invent words at a start; it does not invent two right ones further on.
    """
    b, a = words(heard), words(said)
    pairs = set(pairwise(b))
    return max((i + 2 for i in range(len(a) - 1) if (a[i], a[i + 1]) in pairs), default=0)
