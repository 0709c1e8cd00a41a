"""Word times that a listener has checked.

`WordTimes` trusts that the text was said, and then it is closer to the truth than Whisper, whose
words begin to within a tenth of a second (`scripts/bench_word_times`). But a model may add words,
repeat some, or leave some out, and that Whisper hears.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from pipecat_csm.services.loudness import SAMPLE_RATE_HZ
from pipecat_csm.services.sounds import sounds
from pipecat_csm.services.spoken import spoken
from pipecat_csm.services.word_times import WordTimes

_LISTENER_HZ = 16_000
# Whisper tiny.en hears words begin so much late (the median of scripts/bench_word_times).
_LATE_S = 0.05
# Further from the estimate than Whisper errs, two words in a row are somewhere else.
_ELSEWHERE_S = 0.3
# With less of the text heard, nothing can be told.
_LEAST_HEARD = 0.5


class Listener(Protocol):
    """Who hears words: `pipecat_whisper.WhisperEngine`, for one."""

    async def words(self, audio: NDArray[np.float32], /) -> Sequence[tuple[str, float]]:
        """What is said, word by word, with the second at which each begins.

        Args:
            audio: float32 [samples] at 16 kHz.
        """
        ...


async def align_with_whisper(
    audio: NDArray[np.float32],
    text: str,
    engine: Listener,
    *,
    estimate: Sequence[tuple[str, float]] | None = None,
) -> list[tuple[str, float]]:
    """Checks where the words of a finished Segment begin.

    Args:
        audio: float32 [samples] at 24 kHz, all of the Segment.
        text: What was to be said.
        engine: Hears it.
        estimate: What `WordTimes.finish` returned; by default it is made here.

    Returns:
        Every word of the text with its start: the estimate, but for words that were heard
        elsewhere, and what lies between them. In order, within the sound.
    """
    if estimate is None:
        times = WordTimes(text)
        times.feed(audio)
        estimate = times.finish()
    heard = await engine.words(soxr.resample(audio, SAMPLE_RATE_HZ, _LISTENER_HZ))
    found = _found([word for word, _ in estimate], heard)
    starts = np.array([start_s for _, start_s in estimate])
    if len(found) < max(1.0, _LEAST_HEARD * len(estimate)):
        return list(estimate)
    words = np.array(sorted(found))
    off = np.array([found[word] - _LATE_S for word in words]) - starts[words]
    is_off = np.abs(off) > _ELSEWHERE_S
    beside = np.concatenate([[False], is_off, [False]])
    off[~(is_off & (beside[:-2] | beside[2:]))] = 0.0
    starts = np.clip(
        starts + np.interp(np.arange(len(starts)), words, off), 0.0, len(audio) / SAMPLE_RATE_HZ
    )
    starts = np.maximum.accumulate(starts)
    return [(word, float(start_s)) for (word, _), start_s in zip(estimate, starts, strict=True)]


def _found(written: Sequence[str], heard: Sequence[tuple[str, float]]) -> dict[int, float]:
    """Where words of a text were heard: by their number, as far as they were.

    The two are laid side by side by edit distance, in the words as they are said: "5%" is heard
    as "five percent". What sounds alike is alike.
    """
    said = [(sounds(part), i) for i, word in enumerate(written) for part in spoken(word).split()]
    # The time of a word is that of its first part.
    listened = [
        (sounds(part), None if k else start_s)
        for word, start_s in heard
        for k, part in enumerate(spoken(word).split())
    ]
    cost = np.zeros((len(said) + 1, len(listened) + 1))
    cost[:, 0], cost[0] = np.arange(len(said) + 1), np.arange(len(listened) + 1)
    for i, (sound, _) in enumerate(said):
        for j, (other, _) in enumerate(listened):
            changed = cost[i, j] + (sound != other)
            cost[i + 1, j + 1] = min(changed, cost[i, j + 1] + 1, cost[i + 1, j] + 1)
    found: dict[int, float] = {}
    i, j = len(said), len(listened)
    while i and j:
        (sound, word), (other, start_s) = said[i - 1], listened[j - 1]
        if sound == other and cost[i, j] == cost[i - 1, j - 1]:
            # Backwards, so that a word's first part has the last say.
            if start_s is not None:
                found[word] = start_s
            i, j = i - 1, j - 1
        elif cost[i, j] == cost[i - 1, j - 1] + 1:
            i, j = i - 1, j - 1
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return found
