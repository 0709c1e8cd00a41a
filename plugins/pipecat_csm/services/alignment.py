"""Which word is being said: the sounds of a text, laid along its audio as far as that has come.

A hidden Markov model of one text. Its states are the sounds of the words and the pauses between
them, in order; what it hears is how loud each moment is in four bands; several speaking rates are
followed side by side. All that was learned is a table of nine kinds of sound.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.services.loudness import HOP_S
from pipecat_csm.services.sounds import SOUNDS

Floats = NDArray[np.floating]

_PAUSE = len(SOUNDS)

# Neighbouring hops and bands say much the same; taken for independent they would be believed far
# too much. And whatever is heard (a breath, a laugh) fits everything a little.
TEMPER = 0.2
_LEAST_FIT = 1e-3
# A sound is two states, so that it rarely lasts for a moment only. Some letters are not said.
STATES = 2
_SKIPPED = 0.05
_LEAD_S = 0.15
_NO_LEAD = 0.2
_LONGEST_STEP = 0.9
# How likely the end of a Segment is not that of its text.
_BROKEN_OFF = 1e-9
# Factors of the lengths in the table, and how often a speaker changes to the next within a hop.
_RATES = np.exp(np.linspace(-0.45, 0.45, 7))
_RATE_CHANGES = 0.005


@dataclass(frozen=True)
class Table:
    """What is known of each of `SOUNDS` and, last, of a pause.

    Attributes:
        lasts_s: [sounds] mean length, at a pace of 1.
        loud_db: [sounds + 1, bands] mean loudness.
        deviation_db: [sounds + 1, bands] its standard deviation.
    """

    lasts_s: Floats
    loud_db: Floats
    deviation_db: Floats


TABLE = Table(
    np.array([0.08, 0.11, 0.06, 0.05, 0.06, 0.09, 0.05, 0.06, 0.05]),
    np.array(
        [
            [-8, -13, -20, -28], [-10, -17, -23, -30], [-10, -28, -33, -39], [-11, -21, -31, -35],
            [-39, -38, -29, -14], [-28, -38, -32, -23], [-24, -29, -28, -28], [-31, -34, -31, -30],
            [-23, -34, -33, -34], [-43, -44, -44, -44],
        ]
    ),
    np.array(
        [
            [8, 8, 8, 8], [8, 10, 8, 8], [8, 8, 8, 8], [8, 10, 10, 8], [9, 8, 9, 8],
            [13, 8, 8, 12], [13, 10, 8, 8], [11, 9, 10, 12], [11, 9, 10, 11], [8, 8, 8, 8],
        ]
    ),
)  # fmt: skip
"""As `scripts/bench_word_times --fit` finds it in 40 sentences by three voices of Kokoro."""


@dataclass(frozen=True)
class Word:
    """What is expected of a spoken word.

    Attributes:
        sounds: Letters of `SOUNDS`, at least one.
        length: A factor of how long they last.
        pause: How likely it is that a pause follows.
        pause_s: How long one lasts on average.
    """

    sounds: str
    length: float
    pause: float
    pause_s: float


class Alignment:
    """Follows one text. What is known at a hop is its *belief*: [rates, states], of sum 1."""

    def __init__(
        self, words: Sequence[Word], *, pace: float, spread: float, table: Table = TABLE
    ) -> None:
        """Lays out the states.

        Args:
            words: Of the text, in order.
            pace: Factor of how long sounds last, as far as it is known.
            spread: How far off that may be: the standard deviation of its logarithm.
            table: What is known of the sounds.
        """
        self._table = table
        kinds, lasts_s, leaps, firsts = [_PAUSE], [_LEAD_S], [_SKIPPED], []
        for word in words:
            firsts.append(len(kinds))
            for sound in word.sounds:
                kind = SOUNDS.index(sound)
                kinds += [kind] * STATES
                lasts_s += [table.lasts_s[kind] * word.length / STATES] * STATES
                leaps += [_SKIPPED] * STATES
            leaps[-1] = 1.0 - word.pause
            kinds.append(_PAUSE)
            lasts_s.append(word.pause_s)
            leaps.append(0.0)
        # What follows the last word never ends.
        lasts_s[-1], leaps[-2 if words else -1] = np.inf, 0.0
        self.kinds = np.array(kinds)
        """[states] which of `SOUNDS` each is; one more is a pause."""
        self.firsts = np.array([*firsts, len(kinds) - 1])
        """[words + 1] the first state of each word, and of what follows the last."""
        scale = np.where(self.kinds == _PAUSE, 1.0, pace * _RATES[:, None])
        leave = np.minimum(HOP_S / (np.array(lasts_s) * scale), _LONGEST_STEP)
        self._stay = 1.0 - leave
        self._leap = leave * np.array(leaps)
        self._step = leave - self._leap
        self._change = _changes(len(_RATES))
        rates = np.exp(-0.5 * (np.log(_RATES) / spread) ** 2)
        self._start = np.zeros((len(_RATES), len(kinds)))
        self._start[:, 0] = rates / rates.sum() * (1.0 - _NO_LEAD)
        self._start[:, min(1, len(kinds) - 1)] += rates / rates.sum() * _NO_LEAD

    def fit(self, loudness: Floats) -> Floats:
        """How well each state's sound fits what was heard.

        Args:
            loudness: [hops, bands] dB, as `Loudness` gives it.

        Returns:
            [hops, states], up to 1.
        """
        deviation_db = self._table.deviation_db
        off = (loudness[:, None] - self._table.loud_db) / deviation_db
        log_fit = -np.sum(0.5 * off**2 + np.log(deviation_db), axis=2)
        log_fit -= log_fit.max(axis=1, keepdims=True, initial=-np.inf)
        return np.maximum(np.exp(TEMPER * log_fit), _LEAST_FIT)[:, self.kinds]

    def forward(self, belief: Floats | None, fit: Floats) -> Floats:
        """The belief at the next hop, of which `fit` [states] was heard; None begins."""
        if belief is None:
            moved = self._start.copy()
        else:
            moved = belief * self._stay
            moved[:, 1:] += (belief * self._step)[:, :-1]
            moved[:, 2:] += (belief * self._leap)[:, :-2]
            moved = self._change @ moved
        moved *= fit
        return moved / moved.sum()

    def backward(
        self, beliefs: Sequence[Floats], fits: Floats, *, complete: bool
    ) -> Iterator[Floats]:
        """The beliefs in the light of what was heard after them, the latest first.

        Args:
            beliefs: Of hops in a row.
            fits: [hops, states] of the same hops.
            complete: All was said by the last of them.
        """
        later = np.ones_like(self._stay)
        if complete:
            later[:, :-2] = _BROKEN_OFF
        for belief, fit in zip(reversed(beliefs), reversed(fits), strict=True):
            both = belief * later
            yield both / both.sum()
            later = self._change.T @ (later * fit)
            ahead = later * self._stay
            ahead[:, :-1] += self._step[:, :-1] * later[:, 1:]
            ahead[:, :-2] += self._leap[:, :-2] * later[:, 2:]
            later = ahead / ahead.max()

    def begun(self, belief: Floats) -> Floats:
        """How likely each word, and what follows the last, has begun: [words + 1]."""
        at_or_after = np.cumsum(belief.sum(axis=0)[::-1])[::-1]
        return at_or_after[self.firsts]

    def rate(self, belief: Floats) -> float:
        """The factor of the pace that is to be expected."""
        return float(np.exp(belief.sum(axis=1) @ np.log(_RATES)))


def _changes(rates: int) -> Floats:
    """[to, from] how likely the rate changes within a hop, to its neighbours only."""
    changes = np.eye(rates) * (1.0 - _RATE_CHANGES)
    for rate in range(rates):
        for other in (rate - 1, rate + 1):
            changes[min(max(other, 0), rates - 1), rate] += _RATE_CHANGES / 2
    return changes
