"""Kokoro reads a sentence, and says which phoneme sounded when.

The network is used directly, not through `agent.embedded.kokoro`, because what makes a codec's
first codebook phonetic and a speech model look at the right letter are the durations inside, which
the live voice only needs as the starts of words.
"""

from dataclasses import dataclass

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from pipecat_csm.audio import loudness_gain

from agent.embedded.kokoro_model import SAMPLE_RATE_HZ, KokoroError, KokoroModel, run_options
from agent.embedded.phonemes import PhonemeWord, Phonemizer
from agent.embedded.styles import VOICES_DIR, Styles
from agent.models import resolve
from scripts.mini_training.data.voices import Voice

_QUIET = 0.01
_LEAD_S, _TAIL_S = 0.04, 0.16
# The sound runs ahead of the durations by so much: where the labels less this say so, hisses are
# sharpest, vowels loudest and stops most silent. (scripts/bench_word_times finds the same.)
_LATE_S = 0.044
_ENDS = frozenset(".!?,;:")


@dataclass(frozen=True)
class Take:
    """A sentence as it was spoken.

    Attributes:
        audio: float32 [samples] at 24 kHz, at the loudness that CSM is given.
        symbols: Kokoro's phonemes, stress marks, blanks and punctuation.
        ends_ms: When each symbol ends.
        words_ms: When each whitespace-delimited word of the text begins and ends.
    """

    audio: NDArray[np.float32]
    symbols: str
    ends_ms: tuple[int, ...]
    words_ms: tuple[tuple[int, int], ...]


class Reader:
    """Kokoro with all it needs, in this process."""

    def __init__(self, threads: int) -> None:
        """Loads it.

        Raises:
            ModelError: Kokoro is not here.
            KokoroError: It cannot be loaded, or is an export that keeps its durations.
        """
        self._model = KokoroModel(resolve("kokoro-82m", "tts"), threads=threads)
        if not self._model.has_durations:
            raise KokoroError("This export of Kokoro does not tell how long each phoneme lasts.")
        self._styles = Styles(VOICES_DIR)
        self._phonemizer = Phonemizer()

    def read(self, text: str, voice: Voice, speed: float) -> Take:
        """Speaks a sentence of at most some fifteen words.

        Args:
            text: Which ends in a full stop or the like.
            voice: Who speaks.
            speed: 1 is the voice's own.
        """
        words = self._phonemizer.words(text, self._styles.accent(voice.blend))
        symbols, owners = laid_out(words)
        audio, durations = self._model.run(
            symbols, self._styles.style(voice.blend), speed / voice.pitch, run_options()
        )
        assert durations is not None
        audio = soxr.resample(audio, SAMPLE_RATE_HZ * voice.pitch, SAMPLE_RATE_HZ)
        audio, cut_s = trimmed(np.asarray(audio, np.float32))
        ends_s = (np.cumsum(durations)[:-1] - _LATE_S) / voice.pitch - cut_s
        # The last phoneme's duration holds the silence after it, which nobody speaks.
        last_s = len(audio) / SAMPLE_RATE_HZ - _TAIL_S
        ends_ms = np.round(1e3 * np.clip(ends_s, 0.0, last_s)).astype(int)
        gain = loudness_gain(torch.from_numpy(audio))
        return Take(
            np.clip(audio * np.float32(gain), -1.0, 1.0),
            symbols,
            tuple(int(end) for end in ends_ms[1:]),
            word_times(owners, ends_ms, len(words)),
        )


def laid_out(words: list[PhonemeWord]) -> tuple[str, list[int]]:
    """The symbols of a sentence, and the word that each belongs to (-1 between words)."""
    symbols, owners = "", []
    for index, word in enumerate(words):
        if symbols and word.phonemes:
            symbols, owners = symbols + " ", [*owners, -1]
        symbols += word.phonemes
        owners += [-1 if symbol in _ENDS else index for symbol in word.phonemes]
    if symbols[-1:] not in _ENDS:
        symbols, owners = symbols + ".", [*owners, -1]
    return symbols, owners


def word_times(
    owners: list[int], ends_ms: NDArray[np.integer], words: int
) -> tuple[tuple[int, int], ...]:
    """When each word begins and ends; one without a sound where the one before it ends.

    Args:
        owners: [symbols] from `laid_out`.
        ends_ms: [1 + symbols] the end of the silence before, then of each symbol.
        words: How many there are.
    """
    times: list[tuple[int, int]] = []
    for index in range(words):
        own = [position for position, owner in enumerate(owners) if owner == index]
        if own:
            times.append((int(ends_ms[own[0]]), int(ends_ms[own[-1] + 1])))
        else:
            last = times[-1][1] if times else 0
            times.append((last, last))
    return tuple(times)


def trimmed(audio: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """A breath of silence on either side, and the seconds that were cut off the front."""
    loud = np.flatnonzero(np.abs(audio) > _QUIET)
    if not len(loud):
        return audio, 0.0
    lead, tail = int(_LEAD_S * SAMPLE_RATE_HZ), int(_TAIL_S * SAMPLE_RATE_HZ)
    padded = np.pad(audio, (lead, tail))
    begin, end = int(loud[0]), int(loud[-1]) + lead + tail
    return padded[begin:end], (begin - lead) / SAMPLE_RATE_HZ
