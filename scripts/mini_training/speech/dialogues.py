"""Conversations made of single utterances.

One or two speakers, each with a voice and a number drawn by lot, take turns as people do. So the
number says nothing about the voice, and nothing but the sound of the Segments before can: that is
how the voice of a CSM comes from its context. Some conversations are long, and some turns are
several sentences, as a persona's recording is, so that neither is new to it when it is used.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scripts.mini_training.codec.codes import Rendering
from scripts.mini_training.data.corpus import Utterance
from scripts.mini_training.speech.crossing import Crossings

_MOST_SEGMENTS = 5
_LONG_SHARE, _LONGEST = 0.1, 14
_TWO_SPEAKERS_SHARE = 0.5
_SAME_AGAIN_SHARE = 0.25
_USUAL_NUMBERS_SHARE = 0.7
_NUMBERS = 10
_SEVERAL_SHARE, _SEVERAL = 0.15, (2, 4)
_FRAME_MS = 80


@dataclass(frozen=True)
class Turn:
    """A Segment of a conversation.

    Attributes:
        speaker: The number of who speaks.
        utterance: What is said.
        rendering: How it sounds.
    """

    speaker: int
    utterance: Utterance
    rendering: Rendering


class Dialogues:
    """Draws conversations from a corpus."""

    def __init__(
        self, corpus: Sequence[tuple[Utterance, list[Rendering]]], crossed_share: float = 0.0
    ) -> None:
        """Takes every utterance with its renderings.

        Args:
            corpus: Of all voices.
            crossed_share: Of the sentences, how many go on as another one does; see `crossing`.
        """
        self._by_voice: dict[str, list[tuple[Utterance, list[Rendering]]]] = defaultdict(list)
        for one in corpus:
            self._by_voice[one[0].voice].append(one)
        self._voices = sorted(self._by_voice)
        self._crossed_share = crossed_share
        self._crossings = {voice: Crossings(self._by_voice[voice]) for voice in self._voices}

    def draw(self, rng: np.random.Generator) -> list[Turn]:
        """One conversation."""
        most = _LONGEST if rng.random() < _LONG_SHARE else _MOST_SEGMENTS
        speakers = 2 if rng.random() < _TWO_SPEAKERS_SHARE else 1
        numbers = rng.permutation(2 if rng.random() < _USUAL_NUMBERS_SHARE else _NUMBERS)
        voices = [self._voices[i] for i in rng.integers(len(self._voices), size=speakers)]
        turns: list[Turn] = []
        who = 0
        for _ in range(int(rng.integers(1, most + 1))):
            turn = self._sentence(rng, voices[who], int(numbers[who]))
            if rng.random() < _SEVERAL_SHARE:
                for _ in range(1, int(rng.integers(*_SEVERAL, endpoint=True))):
                    turn = joined(turn, self._sentence(rng, voices[who], turn.speaker))
            turns.append(turn)
            if speakers == 2 and rng.random() >= _SAME_AGAIN_SHARE:
                who = 1 - who
        return turns

    def _sentence(self, rng: np.random.Generator, voice: str, number: int) -> Turn:
        utterances = self._by_voice[voice]
        utterance, renderings = utterances[rng.integers(len(utterances))]
        spoken = utterance, renderings[rng.integers(len(renderings))]
        if rng.random() < self._crossed_share:
            spoken = self._crossings[voice].draw(rng, spoken)
        return Turn(number, *spoken)


def joined(first: Turn, second: Turn) -> Turn:
    """Two sentences of one speaker as one Segment."""
    (one, head), (other, tail) = ((turn.utterance, turn.rendering) for turn in (first, second))
    # Times are counted from the first one's own beginning, before which its silence lies.
    later_ms = round(_FRAME_MS * len(head.codes) + tail.shift_ms - head.shift_ms)
    words_ms = tuple((begin + later_ms, end + later_ms) for begin, end in other.words_ms)
    return Turn(
        first.speaker,
        replace(one, text=f"{one.text} {other.text}", words_ms=one.words_ms + words_ms),
        Rendering(np.concatenate([head.codes, tail.codes]), head.shift_ms),
    )
