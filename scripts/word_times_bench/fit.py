"""Where the table of `pipecat_csm.services.alignment` comes from: expectation-maximisation.

Every word is held to where Kokoro's plan has it; which sound is where in it, and so how long each
kind of sound lasts and how loud it is, is found by what the last round has learned.
"""

from collections.abc import Sequence

import numpy as np
from pipecat_csm.services.alignment import STATES, TEMPER, Alignment, Floats, Table
from pipecat_csm.services.loudness import BANDS, HOP_S, Loudness
from pipecat_csm.services.sounds import SOUNDS
from pipecat_csm.services.word_times import expected

from scripts.word_times_bench.speech import Spoken

_ROUNDS = 8
# Plans are in steps of 25 ms.
_SLACK_S = 0.04
# So that a voice unlike those that were heard fits too.
_LEAST_DEVIATION_DB = 8.0
# As good as no doubt about the rate, or about a word's place.
_CERTAIN = 1e-2
_OUT_OF_PLACE = 1e-9


def fit(spoken: Sequence[Spoken], delay_s: float) -> Table:
    """Fits a table to speech, and rounds it to 5 ms and 1 dB.

    Args:
        spoken: Sentences, of which those of a single word teach nothing.
        delay_s: By how much their planned starts are late.
    """
    spoken = [one for one in spoken if len(one.starts) > 1]
    heard = [_loudness(one) for one in spoken]
    table = _FIRST
    for _ in range(_ROUNDS):
        sums = _Sums()
        for one, loudness in zip(spoken, heard, strict=True):
            _expect(one, loudness, one.starts - delay_s, table, sums)
        table = sums.table()
    return Table(
        np.round(table.lasts_s * 200) / 200, np.round(table.loud_db), np.round(table.deviation_db)
    )


# Vowels are loud, hisses high, stops silent: the rest follows.
_FIRST = Table(
    np.full(len(SOUNDS), 0.08),
    np.array(
        [
            [-6, -10, -15, -25], [-6, -10, -15, -25], [-8, -20, -25, -35], [-8, -15, -20, -30],
            [-30, -30, -20, -10], [-15, -25, -25, -20], [-20, -25, -25, -25], [-30, -30, -25, -25],
            [-15, -25, -25, -30], [-45, -45, -45, -45],
        ]
    ),
    np.full((len(SOUNDS) + 1, BANDS), 8.0),
)  # fmt: skip


class _Sums:
    """What a round adds up, by kind of sound."""

    def __init__(self) -> None:
        kinds = len(SOUNDS) + 1
        self.hops = np.zeros(kinds)
        self.loud = np.zeros((kinds, BANDS))
        self.squares = np.zeros((kinds, BANDS))
        self.lasts_s = np.zeros(len(SOUNDS))
        self.count = np.zeros(len(SOUNDS))

    def table(self) -> Table:
        """What was learned."""
        loud = self.loud / self.hops[:, None]
        variance = self.squares / self.hops[:, None] - loud**2
        deviation = np.maximum(np.sqrt(variance), _LEAST_DEVIATION_DB)
        return Table(self.lasts_s / self.count, loud, deviation)


def _loudness(one: Spoken) -> Floats:
    loudness = Loudness()
    loudness.feed(one.audio)
    return loudness.as_known_now()


def _expect(one: Spoken, loudness: Floats, starts: Floats, table: Table, sums: _Sums) -> None:
    words, word_of_token = expected(one.text.split())
    alignment = Alignment(words, pace=1.0, spread=_CERTAIN, table=table)
    # Of words, not of tokens; and each lasts until the next.
    begins = starts[[list(word_of_token).index(word) for word in range(len(words))]]
    ends = np.append(begins[1:] + _SLACK_S, np.inf)
    word_of_state = np.searchsorted(alignment.firsts[:-1], np.arange(len(alignment.kinds)), "right")
    since = np.concatenate([[-np.inf], begins])[word_of_state]
    until = np.concatenate([[begins[0] + _SLACK_S], ends])[word_of_state]
    moments = np.arange(len(loudness))[:, None] * HOP_S
    in_place = np.where((moments >= since) & (moments <= until), 1.0, _OUT_OF_PLACE)
    # The words are where they are: here what is heard may be believed.
    fits = alignment.fit(loudness) ** (1 / TEMPER) * in_place

    beliefs: list[Floats] = []
    for at in fits:
        beliefs.append(alignment.forward(beliefs[-1] if beliefs else None, at))
    backward = list(alignment.backward(beliefs, fits, complete=True))[::-1]
    states = np.array([belief.sum(axis=0) for belief in backward])
    lengths = np.concatenate([[word.length] * len(word.sounds) for word in words])
    for kind in range(len(SOUNDS) + 1):
        share = states[:, alignment.kinds == kind].sum(axis=1)
        sums.hops[kind] += share.sum()
        sums.loud[kind] += share @ loudness
        sums.squares[kind] += share @ loudness**2
    for sound, kind in enumerate(SOUNDS.index(s) for word in words for s in word.sounds):
        own = np.flatnonzero(alignment.kinds < len(SOUNDS))[STATES * sound : STATES * (sound + 1)]
        sums.lasts_s[kind] += states[:, own].sum() * HOP_S / lengths[sound]
        sums.count[kind] += 1
