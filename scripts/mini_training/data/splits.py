"""Which sentences are for learning, and which are only ever listened to.

The words themselves decide, by their hash: so the two sets are disjoint whatever is generated, in
whatever order, today or after the data has grown.
"""

import hashlib
import random
import re
from typing import Literal

from scripts.mini_training.data.grammar import Sentences

Split = Literal["train", "heldout", "voices"]
"""Learned from; unseen sentences in voices that were learned; unseen sentences in unseen voices."""

SPLITS: tuple[Split, ...] = ("train", "heldout", "voices")

_HELD_OUT_OF = 20
_MOST_TRIES = 10_000
MOST_WORDS = 14


def is_held_out(text: str) -> bool:
    """Whether a sentence belongs to the twentieth that is never learned from."""
    words = " ".join(re.findall(r"[a-z0-9']+", text.lower()))
    return hashlib.sha256(words.encode()).digest()[0] % _HELD_OUT_OF == 0


def sentence_of(source: Sentences, split: Split, rng: random.Random) -> str:
    """A sentence of a split.

    Raises:
        ValueError: The source has no such sentence, or next to none.
    """
    for _ in range(_MOST_TRIES):
        text = source.sentence(rng)
        if is_held_out(text) == (split != "train") and len(text.split()) <= MOST_WORDS:
            return text
    raise ValueError(f"The source of sentences has none for {split!r}.")
