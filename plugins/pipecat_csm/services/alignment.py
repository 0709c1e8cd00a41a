"""Which word is being said: the sounds of a text, laid along its audio as far as that has come.

A hidden Markov model of one text. Its states are the sounds of the words and the pauses between
them, in order; what it hears is how loud each moment is in four bands; several speaking rates are
followed side by side. All that was learned is a table of nine kinds of sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.services.loudness import HOP_S
from pipecat_csm.services.sounds import SOUNDS

Floats = NDArray[np.floating]

# Each of `SOUNDS`, and a pause: its mean length, and how loud it is in each band, with the standard
# deviations. Fitted by EM to 40 sentences in three voices (scripts/bench_word_times), and rounded;
# deviations are at least 8 dB, so that another voice fits too.
_LASTS_S = 1e-3 * np.array([90, 115, 60, 55, 75, 85, 55, 65, 50])
_LOUD_DB = np.array(
    [
        [-8, -14, -21, -28], [-10, -18, -23, -30], [-11, -30, -35, -41], [-13, -24, -34, -37],
        [-40, -39, -29, -13], [-30, -39, -33, -23], [-30, -33, -31, -29], [-32, -35, -32, -31],
        [-24, -37, -36, -37], [-45, -45, -45, -45],
    ]
)  # fmt: skip
_DEVIATION_DB = np.array(
    [
        [8, 8, 8, 8], [8, 11, 8, 8], [9, 8, 8, 8], [8, 10, 9, 8], [8, 8, 9, 8], [12, 8, 8, 12],
        [12, 8, 8, 8], [10, 9, 10, 12], [10, 8, 9, 10], [8, 8, 8, 8],
    ]
)  # fmt: skip
_PAUSE = len(SOUNDS)

# Neighbouring hops and bands say much the same; taken for independent they would be believed far
# too much. And whatever is heard (a breath, a laugh) fits everything a little.
_TEMPER = 0.2
_LEAST_FIT = 1e-3
# A sound is two states, so that it rarely lasts for a moment only. Some letters are not said.
_STATES = 2
_SKIPPED = 0.05
_LEAD_S = 0.15
_NO_LEAD = 0.2
_LONGEST_STEP = 0.9
# Factors of the lengths in the table, and how often a speaker changes to the next within a hop.
_RATES = np.exp(np.linspace(-0.45, 0.45, 7))
_RATE_CHANGES = 0.005


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

    def __init__(self, words: Sequence[Word], *, pace: float, spread: float) -> None:
        """Lays out the states.

        Args:
            words: Of the text, in order.
            pace: Factor of how long sounds last, as far as it is known.
            spread: How far off that may be: the standard deviation of its logarithm.
        """
        kinds, lasts_s, leaps, firsts = [_PAUSE], [_LEAD_S], [_SKIPPED], []
        for word in words:
            firsts.append(len(kinds))
            for sound in word.sounds:
                kind = SOUNDS.index(sound)
                kinds += [kind] * _STATES
                lasts_s += [_LASTS_S[kind] * word.length / _STATES] * _STATES
                leaps += [_SKIPPED] * _STATES
            leaps[-1] = 1.0 - word.pause
            kinds.append(_PAUSE)
            lasts_s.append(word.pause_s)
            leaps.append(0.0)
        # What follows the last word never ends.
        lasts_s[-1], leaps[-2 if words else -1] = np.inf, 0.0
        self._kinds = np.array(kinds)
        self._firsts = np.array([*firsts, len(kinds) - 1])
        scale = np.where(self._kinds == _PAUSE, 1.0, pace * _RATES[:, None])
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
        off = (loudness[:, None] - _LOUD_DB) / _DEVIATION_DB
        log_fit = -np.sum(0.5 * off**2 + np.log(_DEVIATION_DB), axis=2)
        log_fit -= log_fit.max(axis=1, keepdims=True, initial=-np.inf)
        return np.maximum(np.exp(_TEMPER * log_fit), _LEAST_FIT)[:, self._kinds]

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

    def smoothed(
        self, beliefs: Sequence[Floats], fits: Floats, *, complete: bool
    ) -> tuple[Floats, float]:
        """What is known of every hop in the light of those after it.

        Args:
            beliefs: Of hops in a row.
            fits: [hops, states] of the same hops.
            complete: All was said by the last of them.

        Returns:
            How likely each word, and what follows the last, had begun, [hops, words + 1]; and the
            factor of the pace that is to be expected.
        """
        later = np.ones_like(self._stay)
        if complete:
            later[:, :-2] = 1e-9  # unless it broke off
        begun = np.empty((len(beliefs), len(self._firsts)))
        both = later
        for hop in reversed(range(len(beliefs))):
            both = beliefs[hop] * later
            both /= both.sum()
            begun[hop] = self.begun(both)
            later = self._change.T @ (later * fits[hop])
            ahead = later * self._stay
            ahead[:, :-1] += self._step[:, :-1] * later[:, 1:]
            ahead[:, :-2] += self._leap[:, :-2] * later[:, 2:]
            later = ahead / ahead.max()
        return begun, float(np.exp(both.sum(axis=1) / both.sum() @ np.log(_RATES)))

    def begun(self, belief: Floats) -> Floats:
        """How likely each word, and what follows the last, has begun: [words + 1]."""
        at_or_after = np.cumsum(belief.sum(axis=0)[::-1])[::-1]
        return at_or_after[self._firsts]


def _changes(rates: int) -> Floats:
    """[to, from] how likely the rate changes within a hop, to its neighbours only."""
    changes = np.eye(rates) * (1.0 - _RATE_CHANGES)
    for rate in range(rates):
        for other in (rate - 1, rate + 1):
            changes[min(max(other, 0), rates - 1), rate] += _RATE_CHANGES / 2
    return changes
