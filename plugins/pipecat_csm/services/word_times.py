"""When each word of a Segment is heard, from its text and its sound: CSM itself does not say.

    times = WordTimes("Hello there, how are you?")
    for frame in frames:
        for word, start_s in times.feed(frame):
            ...
    for word, start_s in times.rest():
        ...
    words = times.finish()
    voice = times.voice  # for the next Segment

Captions need the words while they are said, and a reply that was cut off must be cut between the
right words. `scripts/bench_word_times` measures how well both are met.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.services.alignment import Alignment, Floats, Word
from pipecat_csm.services.loudness import (
    HOP_S,
    SAMPLE_RATE_HZ,
    UNKNOWN_LEVEL_DB,
    Loudness,
)
from pipecat_csm.services.sounds import WEAK, sounds
from pipecat_csm.services.spoken import is_abbreviation, spoken

# How likely speakers pause at a mark, and for how long.
_PAUSES = {
    **dict.fromkeys(",", (0.6, 0.2)),
    **dict.fromkeys("—–-", (0.7, 0.2)),
    **dict.fromkeys(";:", (0.85, 0.3)),
    **dict.fromkeys("…", (0.9, 0.35)),
    **dict.fromkeys(".!?。！？", (0.97, 0.35)),
}
_NO_PAUSE = (0.05, 0.08)
_QUOTES = "\"”’»')]}*_"
# Words that are only touched are short, and the last before a pause is long.
_WEAK_LENGTH, _LAST_LENGTH = 0.7, 1.3

# What is assumed of a voice, and how far off that may be; and how much of it makes it known.
_PACE, _SPREAD, _SPREAD_KNOWN = 1.15, 0.2, 0.12
_KNOWN_S, _MEMORY_S = 2.0, 20.0
# A voice that was once loud may speak softly now.
_SOFTER_DB = 6.0

# A word's start is looked for so far back.
_LOOK_BACK_S = 0.2
_LIKELY, _SURE = 0.5, 0.8


@dataclass(frozen=True)
class Voice:
    """What is known of how a voice speaks; what it learns goes from Segment to Segment.

    Attributes:
        pace: A factor of how long its sounds last: 1.3 is slower than 1.15, which is usual.
        level_db: Of its loudest 0.1 s, in dBFS.
        heard_s: How long it was listened to.
    """

    pace: float = _PACE
    level_db: float = UNKNOWN_LEVEL_DB + _SOFTER_DB
    heard_s: float = 0.0

    def after(self, pace: float, level_db: float, seconds: float) -> "Voice":
        """The same voice, after so many seconds at a pace and level."""
        before_s = min(self.heard_s, _MEMORY_S)
        share = seconds / (before_s + seconds) if seconds else 0.0
        return Voice(
            pace=self.pace ** (1 - share) * pace**share,
            level_db=self.level_db + share * (level_db - self.level_db),
            heard_s=self.heard_s + seconds,
        )


class WordTimes:
    """Follows one Segment while it is made. Not thread-safe; a frame costs a fraction of 1 ms."""

    def __init__(self, text: str, voice: Voice | None = None, *, lookahead_s: float = 0.16) -> None:
        """Has heard nothing.

        Args:
            text: What is said, as it was given to CSM.
            voice: What `voice` was after the Segment before; by default nothing is known.
            lookahead_s: A word is announced when this much was heard since it began: the more,
                the later and the surer.
        """
        self.voice = voice or Voice()
        """What is known of the voice; `finish` adds what it has learned."""
        self._text = text
        self._tokens = [found.span() for found in re.finditer(r"\S+", text)]
        words, self._word_of_token = expected([text[slice(*span)] for span in self._tokens])
        known = self.voice.heard_s >= _KNOWN_S
        self._alignment = Alignment(
            words, pace=self.voice.pace, spread=_SPREAD_KNOWN if known else _SPREAD
        )
        self._loudness = Loudness(self.voice.level_db - _SOFTER_DB)
        self._lookahead = round(lookahead_s / HOP_S)
        self._look_back = round(_LOOK_BACK_S / HOP_S)
        # Of the latest hops, as many as are looked back at.
        self._beliefs: list[Floats] = []
        self._fits: list[Floats] = []
        self._hops = 0
        self._samples = 0
        self._announced_s = 0.0
        self.announced = 0
        """How many words `feed` has returned."""
        self._starts: Floats | None = None
        self._corrected: Floats | None = None
        self._finished = False

    @property
    def duration_s(self) -> float:
        """How much was heard."""
        return self._samples / SAMPLE_RATE_HZ

    def feed(self, samples: NDArray[np.floating]) -> list[tuple[str, float]]:
        """Takes the sound that comes next.

        Args:
            samples: Float [samples] at 24 kHz, usually a frame of 80 ms.

        Returns:
            The words that have begun since the last call, as they are written, with the seconds
            from the Segment's start: in order, never decreasing, and for good.

        Raises:
            RuntimeError: The Segment is finished.
        """
        if self._finished:
            raise RuntimeError("The Segment is finished; its next sound belongs to another.")
        self._samples += len(samples)
        self._starts = None
        for fit in self._alignment.fit(self._loudness.feed(samples)):
            latest = self._beliefs[-1] if self._beliefs else None
            self._beliefs.append(self._alignment.forward(latest, fit))
            self._fits.append(fit)
            self._hops += 1
        kept = self._lookahead + self._look_back + 1
        self._beliefs, self._fits = self._beliefs[-kept:], self._fits[-kept:]
        return self._newly_begun()

    def finish(self) -> list[tuple[str, float]]:
        """The Segment has ended; a second time changes nothing.

        Returns:
            Every word with its start, corrected by all that is known now: in order, within the
            sound. A word that is not spoken (an emoji, a dash) begins with the next.
        """
        if not self._finished:
            self._finished = True
            self._loudness.feed(np.zeros(round(HOP_S * SAMPLE_RATE_HZ), np.float32))
            self._starts, rate = self._smoothed(complete=True)
            speech_s = float(self._starts[-1] - self._starts[0])
            if speech_s > 0.0:
                self.voice = self.voice.after(
                    self.voice.pace * rate, self._loudness.level_db, speech_s
                )
        starts = self._starts_now()[self._word_of_token]
        return [(self._word(i), float(start_s)) for i, start_s in enumerate(starts)]

    def rest(self) -> list[tuple[str, float]]:
        """After the end: the words that `feed` has not returned, none before those that it did.

        Where the text was not what was said, `finish` may know better than what was announced;
        but captions and contexts take words in the order of their times.
        """
        left = self.finish()[self.announced :]
        return [(word, max(start_s, self._announced_s)) for word, start_s in left]

    def correct(self, words: Sequence[tuple[str, float]]) -> None:
        """Somebody has listened, as `align_with_whisper` does: it goes by that from now on.

        Args:
            words: Every word with its start, as `finish` has them.
        """
        self._corrected = np.array([start_s for _, start_s in words])

    def words_until(self, heard_s: float) -> str:
        """The text that had been begun when so much was heard, as it is written.

        Args:
            heard_s: Seconds from the Segment's start.

        Returns:
            The text up to the end of the last word that had begun, with its punctuation.
        """
        starts = self._corrected
        if starts is None:
            starts = self._starts_now()[self._word_of_token]
        begun = int(np.sum(starts < heard_s))
        return self._text[: self._tokens[begun - 1][1]] if begun else ""

    def _newly_begun(self) -> list[tuple[str, float]]:
        known = len(self._beliefs) - self._lookahead
        token = self.announced
        # What is not sure to have begun by now was not likely to before: there is no need to look.
        if (
            known <= 0
            or token == len(self._tokens)
            or self._alignment.begun(self._beliefs[-1])[self._word_of_token[token]] <= _SURE
        ):
            return []
        backward = self._alignment.backward(self._beliefs, np.array(self._fits), complete=False)
        begun = np.array([self._alignment.begun(belief) for belief in backward])[::-1]
        begun = begun[:known] > _LIKELY
        first_hop = self._hops - len(self._beliefs)
        words: list[tuple[str, float]] = []
        for word in self._word_of_token[token:]:
            if not begun[-1, word]:
                break
            start_s = (first_hop + int(np.argmax(begun[:, word]))) * HOP_S
            self._announced_s = max(self._announced_s, start_s)
            words.append((self._word(self.announced), self._announced_s))
            self.announced += 1
        return words

    def _starts_now(self) -> Floats:
        """[words + 1] where each word, and what follows the last, begins as far as is known."""
        if self._starts is None:
            self._starts, _ = self._smoothed(complete=False)
        return self._starts

    def _smoothed(self, *, complete: bool) -> tuple[Floats, float]:
        """The starts in the light of all that was heard, and by what factor the pace was off."""
        fits = self._alignment.fit(self._loudness.as_known_now())
        beliefs: list[Floats] = []
        for fit in fits:
            beliefs.append(self._alignment.forward(beliefs[-1] if beliefs else None, fit))
        # After one hop more, in which whatever has not begun by then is taken to begin.
        begun = np.ones((len(fits) + 1, len(self._alignment.firsts)))
        belief = None
        backward = self._alignment.backward(beliefs, fits, complete=complete)
        for hop, belief in zip(reversed(range(len(fits))), backward, strict=True):
            begun[hop] = self._alignment.begun(belief)
        rate = 1.0 if belief is None else self._alignment.rate(belief)
        hops = np.argmax(begun > _LIKELY, axis=0)
        never_s = self.duration_s if complete else np.inf
        starts = np.where(hops == len(fits), never_s, hops * HOP_S)
        return np.minimum(np.maximum.accumulate(starts), never_s), rate

    def _word(self, token: int) -> str:
        return self._text[slice(*self._tokens[token])]


def expected(tokens: Sequence[str]) -> tuple[list[Word], NDArray[np.intp]]:
    """The words that are spoken, and for each token the first of them that it has or precedes."""
    words: list[Word] = []
    word_of_token: list[int] = []
    for token in tokens:
        said = spoken(token)
        heard = "".join(map(sounds, said.split()))
        pause, pause_s = _pause_after(token)
        word_of_token.append(len(words))
        if heard:
            length = _WEAK_LENGTH if said in WEAK else 1.0
            words.append(Word(heard, length, pause, pause_s))
        elif words and pause > words[-1].pause:
            words[-1] = replace(words[-1], pause=pause, pause_s=pause_s)
    for i, word in enumerate(words):
        if word.pause > _LIKELY or i == len(words) - 1:
            words[i] = replace(word, length=word.length * _LAST_LENGTH)
    return words, np.array(word_of_token, np.intp)


def _pause_after(token: str) -> tuple[float, float]:
    if is_abbreviation(token):
        return _NO_PAUSE
    return _PAUSES.get(token.rstrip(_QUOTES)[-1:], _NO_PAUSE)
