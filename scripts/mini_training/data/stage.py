"""The data stage: sentences × voices × speeds, spoken shard by shard until the time is up.

What a shard holds follows from the seed and its number alone, so the stage may be stopped anywhere
and goes on where it was; more minutes make more shards. The two held-out splits are small and come
first.
"""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from scripts.mini_training.data.corpus import Line, has_shard, write_shard
from scripts.mini_training.data.grammar import Grammar, Sentences
from scripts.mini_training.data.open_text import LexiconSentences, TextSentences
from scripts.mini_training.data.speaking import Take
from scripts.mini_training.data.splits import SPLITS, Split, sentence_of
from scripts.mini_training.data.voices import TRAINED, UNSEEN, Voice, voice_named
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.progress import Progress

SHARD_LINES = 60
"""Two minutes of speech, three quarters of a minute of work for Kokoro on two cores."""

_SPEEDS = (0.95, 1.12)


class Speaks(Protocol):
    """What reads sentences aloud."""

    def read(self, text: str, voice: Voice, speed: float) -> Take:
        """Speaks one."""
        ...


def sentences(vocabulary: str, text: Path | None) -> Sentences:
    """Where sentences come from.

    Args:
        vocabulary: "closed" or "open".
        text: A plain text to take those of the open vocabulary from.

    Raises:
        TrainingError: The text cannot be read or has too few, or what the lexicon comes from is not
            installed.
    """
    if vocabulary == "closed":
        return Grammar.closed()
    if text is not None:
        try:
            return TextSentences(text.read_text("utf-8", errors="replace"))
        except OSError as error:
            raise TrainingError(f"{text} cannot be read: {error.strerror}.") from None
    return LexiconSentences.installed()


def lines_of(source: Sentences, split: Split, shard: int, seed: int, count: int) -> list[Line]:
    """What is to be spoken in a shard, and how: a pure function of its arguments."""
    rng = random.Random(f"{seed} {split} {shard}")
    voices = UNSEEN if split == "voices" else TRAINED
    return [
        Line(
            sentence_of(source, split, rng),
            rng.choice(voices).name,
            round(rng.uniform(*_SPEEDS), 2),
        )
        for _ in range(count)
    ]


def held_out(folder: Path, shards: int) -> list[tuple[Split, int]]:
    """The held-out shards that are not there yet."""
    return [(s, n) for s in SPLITS[1:] for n in range(shards) if not has_shard(folder, s, n)]


def make(
    folder: Path,
    source: Sentences,
    reader: Speaks,
    *,
    minutes: float,
    seed: int,
    progress: Progress,
    shard_lines: int = SHARD_LINES,
    held_out_shards: int,
    at_once: int = 1,
) -> float:
    """Speaks what is held out, then until the minutes are over, in whole shards, one at least.

    How many were spent is kept beside the shards: they are those of all runs.

    Args:
        folder: Where the shards lie.
        source: Of the sentences.
        reader: Speaks them.
        minutes: How long, over all runs; with 0 only what is held out is spoken.
        seed: Of all that is drawn.
        progress: Told of every shard.
        shard_lines: Sentences in a shard.
        held_out_shards: Of either held-out split.
        at_once: Sentences that are spoken at once.

    Returns:
        How many hours of speech it made.
    """
    spent = folder / "spent.json"
    before_s: float = json.loads(spent.read_text("utf-8"))["seconds"] if spent.exists() else 0.0
    began_s, made_s = time.monotonic() - before_s, 0.0
    todo = held_out(folder, held_out_shards)
    following: tuple[Split, int] = (
        "train",
        next(number for number in range(10**6) if not has_shard(folder, "train", number)),
    )

    def speak(line: Line) -> Take:
        return reader.read(line.text, voice_named(line.voice), line.speed)

    readers = ThreadPoolExecutor(at_once)
    while True:
        spent_s = time.monotonic() - began_s
        progress.at(spent_s / 60, f"{made_s / 60:.1f} minutes of speech")
        # What is held out may take longer than the minutes, and there must be something to learn.
        learnable = not minutes or has_shard(folder, "train", 0)
        if not todo and spent_s > 60 * minutes and learnable:
            break
        split, number = todo.pop(0) if todo else following
        if (split, number) == following:
            following = ("train", number + 1)
        lines = lines_of(source, split, number, seed, shard_lines)
        takes = list(readers.map(speak, lines))
        made_s += write_shard(folder, split, number, lines, takes)
        spent.write_text(json.dumps({"seconds": round(time.monotonic() - began_s, 1)}), "utf-8")
    readers.shutdown()
    return made_s / 3600
