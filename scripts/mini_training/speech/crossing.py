"""Two sentences that share a word make a third: it begins as one and goes on as the other.

Kokoro takes a second for a second of speech on a small machine, and a model that hears the same
thousand sentences again and again learns them by heart. Where a word stands within both, in one
voice, the frames of one up to its middle and of the other from there on are a sentence that nobody
has spoken, and the cut lies where both sound alike. From n sentences come some
n² more, for nothing, and it may be done again to what came of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scripts.mini_training.codec.codes import Rendering
from scripts.mini_training.data.corpus import Utterance
from scripts.mini_training.data.splits import MOST_WORDS, is_held_out

Spoken = tuple[Utterance, Rendering]

_FRAME_MS = 80.0
_APART_MS = 20.0
_TRIES = 8
_MOST_CROSSINGS = 3


class Crossings:
    """The sentences of one voice, by the words that stand within them."""

    def __init__(self, sentences: Sequence[tuple[Utterance, list[Rendering]]]) -> None:
        """Takes every sentence of the voice with its renderings."""
        self._sentences = sentences
        self._within: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for index, (one, _) in enumerate(sentences):
            for position, word in enumerate(one.text.split()):
                if _is_within(one, position):
                    self._within[word].append((index, position))

    def draw(self, rng: np.random.Generator, first: Spoken) -> Spoken:
        """A sentence that begins as one does, or that one where no other goes on from it."""
        for _ in range(int(rng.integers(1, _MOST_CROSSINGS, endpoint=True))):
            first = self._crossed(rng, first)
        return first

    def _crossed(self, rng: np.random.Generator, first: Spoken) -> Spoken:
        one, rendering = first
        words = one.text.split()
        for _ in range(_TRIES if len(words) > 2 else 0):
            here = int(rng.integers(1, len(words) - 1))
            others = self._within.get(words[here], ())
            if not others:
                continue
            index, there = others[rng.integers(len(others))]
            other, renderings = self._sentences[index]
            found = crossed(
                (one, rendering), here, (other, renderings[rng.integers(len(renderings))]), there
            )
            if found is not None:
                return found
        return first


def crossed(first: Spoken, here: int, second: Spoken, there: int) -> Spoken | None:
    """The first up to the middle of a word, and from there the second.

    Args:
        first: How it begins.
        here: Which of its words the cut is in.
        second: How it goes on.
        there: Which of its words is the same one.

    Returns:
        None where their frames do not fit within 20 ms, or where the sentence is too long or one
        of those that are only listened to.
    """
    (one, head), (other, tail) = first, second
    words = [*one.text.split()[: here + 1], *other.text.split()[there + 1 :]]
    text = " ".join(words)
    # In frames: the middle of the word, and the cut nearest to it.
    middle = _middle_ms(first, here) / _FRAME_MS
    cut = round(middle)
    cut_there = round(_middle_ms(second, there) / _FRAME_MS + cut - middle)
    apart_ms = abs(_middle_ms(second, there) - _FRAME_MS * (cut_there + middle - cut))
    if apart_ms > _APART_MS or len(words) > MOST_WORDS or is_held_out(text):
        return None
    later_ms = round(_FRAME_MS * (cut - cut_there) + tail.shift_ms - head.shift_ms)
    begins_ms, ends_ms = one.words_ms[here][0], other.words_ms[there][1] + later_ms
    if not 0 < cut < len(head.codes) or not 0 < cut_there < len(tail.codes) or ends_ms < begins_ms:
        return None
    after = ((begin + later_ms, end + later_ms) for begin, end in other.words_ms[there + 1 :])
    words_ms = (*one.words_ms[:here], (begins_ms, ends_ms), *after)
    codes = np.concatenate([head.codes[:cut], tail.codes[cut_there:]])
    return replace(one, text=text, words_ms=words_ms), Rendering(codes, head.shift_ms)


def _is_within(one: Utterance, position: int) -> bool:
    # Not at either end: there words are written with capitals and stops, and sound otherwise.
    return 0 < position < len(one.words_ms) - 1


def _middle_ms(spoken: Spoken, word: int) -> float:
    one, rendering = spoken
    return sum(one.words_ms[word]) / 2 + rendering.shift_ms
