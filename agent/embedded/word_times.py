"""When each word of a piece of speech begins.

Kokoro decides how long every phoneme lasts before it makes a sound, so `starts_from_durations`
is as exact as the model (25 ms). Exports that keep those durations to themselves are served by
`estimate_starts`, which knows only the phonemes and the audio.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_VOWELS = frozenset("AIOQWYaiuɐɑɒæɔəɛɜɪʊʌᵊᵻ")
_SHORT_VOWELS = frozenset("əᵊᵻɪɐ")
_DIPHTHONGS = frozenset("AIOQWY")
_PAUSE_WEIGHT = {",": 4.0, ";": 5.0, ":": 5.0, "—": 4.0, ".": 8.0, "!": 8.0, "?": 8.0, "…": 8.0}
# How far from where it is expected a pause may be heard and still be the same one.
_NEARBY_S = 0.3
_BLOCK_S = 0.01
_SHORTEST_PAUSE_S = 0.06
_QUIET = 0.03


def starts_from_durations(
    owners: Sequence[int], durations_s: NDArray[np.floating], words: int
) -> list[float]:
    """Add up phoneme durations to word starts.

    Args:
        owners: [symbols] the word that each symbol belongs to, or -1 for spaces, pauses and
            whatever else is between words.
        durations_s: [symbols] how long each lasts.
        words: How many words there are. One that owns no symbol starts with the word after it.

    Returns:
        [words] seconds from the start, never decreasing.
    """
    ends = np.cumsum(durations_s)
    starts: list[float | None] = [None] * words
    for owner, end, duration in zip(owners, ends, durations_s, strict=True):
        if owner >= 0 and starts[owner] is None:
            starts[owner] = float(end - duration)
    total = float(ends[-1]) if len(ends) else 0.0
    out: list[float] = []
    following = total
    for start in reversed(starts):
        following = following if start is None else min(start, following)
        out.append(following)
    return out[::-1]


def estimate_starts(
    phonemes: Sequence[str], audio: NDArray[np.float32], sample_rate_hz: int
) -> list[float]:
    """Estimate word starts from what is said and where the audio is quiet.

    The words share the voiced stretches of the audio by the weight of their phonemes. A pause
    that is heard is matched with the punctuation nearest to where it is expected, and corrects
    everything around it.

    Args:
        phonemes: [words] Kokoro symbols and punctuation; empty for words that are not spoken.
        audio: [samples] mono.
        sample_rate_hz: Its rate.

    Returns:
        [words] seconds from the start, never decreasing, within the audio.
    """
    duration_s = len(audio) / sample_rate_hz
    first_s, last_s, pauses = _voiced(audio, sample_rate_hz)
    sounds = np.array([_weight(word) for word in phonemes])
    gaps = np.array([_PAUSE_WEIGHT.get(word[-1:], 0.0) for word in phonemes])
    gaps[-1:] = 0.0
    begins = np.cumsum(sounds + gaps) - sounds - gaps
    total = float(np.sum(sounds + gaps))
    if total == 0.0:
        return [first_s] * len(phonemes)
    # Points that tie a position in the text to a moment; all else is spread in proportion.
    known_weight, known_s = [0.0], [first_s]
    for index in np.flatnonzero(gaps):
        left = float(begins[index] + sounds[index])
        right = left + float(gaps[index])
        expected_s = first_s + (left + right) / 2 / total * (last_s - first_s)
        heard = min(pauses, key=lambda pause: abs(sum(pause) / 2 - expected_s), default=None)
        if heard is None or heard[0] <= known_s[-1]:
            continue
        if abs(sum(heard) / 2 - expected_s) < _NEARBY_S:
            known_weight += [left, right]
            known_s += heard
    starts = np.interp(begins, [*known_weight, total], [*known_s, last_s])
    return [float(start) for start in np.clip(np.maximum.accumulate(starts), 0.0, duration_s)]


def _weight(phonemes: str) -> float:
    weight = 0.0
    for symbol in phonemes:
        if symbol in _DIPHTHONGS:
            weight += 2.6
        elif symbol in _SHORT_VOWELS:
            weight += 1.2
        elif symbol in _VOWELS:
            weight += 1.9
        elif symbol == "ː":
            weight += 0.6
        elif symbol == "ˈ":
            weight += 0.5
        elif symbol.isalpha():
            weight += 1.0
    return weight


def _voiced(
    audio: NDArray[np.float32], sample_rate_hz: int
) -> tuple[float, float, list[tuple[float, float]]]:
    """Find where sound begins and ends, and the pauses between, in seconds."""
    block = max(int(_BLOCK_S * sample_rate_hz), 1)
    count = len(audio) // block
    duration_s = len(audio) / sample_rate_hz
    if count == 0:
        return 0.0, duration_s, []
    level = np.sqrt(np.mean(audio[: count * block].reshape(count, block) ** 2, axis=1))
    loud = np.flatnonzero(level > _QUIET * float(np.percentile(level, 95)))
    if len(loud) == 0:
        return 0.0, duration_s, []
    seconds = block / sample_rate_hz
    gaps = np.flatnonzero(np.diff(loud) * seconds > _SHORTEST_PAUSE_S)
    pauses = [((loud[gap] + 1) * seconds, loud[gap + 1] * seconds) for gap in gaps]
    return loud[0] * seconds, (loud[-1] + 1) * seconds, pauses
