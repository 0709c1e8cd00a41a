"""Which phoneme sounds when: what the first codebook is taught to tell.

A frame lasts 80 ms, in which one phoneme often follows another, so it is asked for four points in
it. The encoder is causal and hears nothing after its frame; the points therefore lie 20 ms early,
so that of the last one, too, something has been heard.
"""

import numpy as np
from numpy.typing import NDArray

from scripts.mini_training.data.corpus import Utterance

POINTS = 4
IGNORED = -100

_FRAME_MS = 80
_EARLY_MS = 20
_LENGTH = "ː"
_STRESS = "ˈˌ"
_BLANK = " "

PHONES = ("", *"AIOQTWYabdfhijklmnpstuvwzæðŋɐɑɒɔəɛɜɡɪɹʃʊʌʒʤʧθᵊᵻ")
"""Silence, then every sound of Kokoro's English (`agent.embedded.phonemes.VOCABULARY`)."""

_CLASSES = {symbol: number for number, symbol in enumerate(PHONES)}


def phone_labels(one: Utterance, start_ms: float, frames: int) -> NDArray[np.int64]:
    """The phoneme at each point of some frames.

    Args:
        one: The utterance.
        start_ms: Where in it the first frame begins; negative where silence was put before it.
        frames: How many there are.

    Returns:
        int64 [frames, POINTS], indexes of `PHONES`, or IGNORED between words, where Kokoro may or
        may not be silent.
    """
    classes = np.array([*_symbol_classes(one.symbols), 0])
    step_ms = _FRAME_MS / POINTS
    at_ms = start_ms - _EARLY_MS + step_ms * (np.arange(frames * POINTS) + 0.5)
    found = classes[np.searchsorted(one.ends_ms, at_ms, side="right")]
    # Before the first phoneme there is silence, which `ends_ms` does not know.
    first_ms = one.words_ms[0][0] if one.words_ms else 0
    return np.where(at_ms < first_ms, 0, found).reshape(frames, POINTS)


def _symbol_classes(symbols: str) -> list[int]:
    found: list[int] = []
    for index, symbol in enumerate(symbols):
        if symbol == _LENGTH and found:
            found.append(found[-1])
        elif symbol in _STRESS:  # it sounds as what it stresses
            found.append(_CLASSES.get(symbols[index + 1 : index + 2], 0))
        else:
            found.append(IGNORED if symbol == _BLANK else _CLASSES.get(symbol, 0))
    return found
