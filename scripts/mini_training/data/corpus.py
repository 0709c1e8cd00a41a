"""Speech on disk: shards of Ogg/Opus with a line of JSON for each utterance.

A shard is one sound file, so that thousands of utterances are few files, and is there once its
index is, which is written last: what was interrupted is made again, what is done is left alone.
Opus at about 48 kbit/s keeps an hour in 20 MB; it is decoded once, into memory-mapped integers.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scripts.mini_training.data.splits import Split
from scripts.mini_training.errors import TrainingError

if TYPE_CHECKING:
    # Where codes are all that is needed, as on a lent GPU, neither Kokoro nor soundfile is there.
    from scripts.mini_training.data.speaking import Take

SAMPLE_RATE_HZ = 24_000
_COMPRESSION = 0.85
_GAP_SAMPLES = 2_400  # of silence between utterances, so that Opus smears none into the next


@dataclass(frozen=True)
class Utterance:
    """A line of an index.

    Attributes:
        text: What is said, as it is written.
        voice: The name of who says it.
        speed: How fast, 1 being the voice's own pace.
        shard: The number of the shard.
        start: The first sample in it.
        samples: How many there are, at 24 kHz.
        symbols: Kokoro's phonemes.
        ends_ms: When each symbol ends.
        words_ms: When each word begins and ends.
    """

    text: str
    voice: str
    speed: float
    shard: int
    start: int
    samples: int
    symbols: str
    ends_ms: tuple[int, ...]
    words_ms: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Line:
    """What is to be spoken."""

    text: str
    voice: str
    speed: float


class Corpus:
    """The complete shards of one split."""

    folder: Path
    split: Split

    def __init__(self, folder: Path, split: Split) -> None:
        """Reads the indexes.

        Raises:
            TrainingError: There is no shard.
        """
        self.folder, self.split = folder, split
        self._sounds: dict[int, NDArray[np.int16]] = {}
        self.shards = tuple(sorted(map(_number, folder.glob(f"{split}-*.jsonl"))))
        if not self.shards:
            raise TrainingError(
                f"{folder} holds no speech for {split!r}; run the data stage first."
            )
        self.utterances = tuple(
            one for shard in self.shards for one in read_index(folder, split, shard)
        )

    def audio(self, one: Utterance) -> NDArray[np.float32]:
        """float32 [samples] at 24 kHz."""
        sound = self._sound(one.shard)[one.start : one.start + one.samples]
        return np.asarray(sound, np.float32) / np.float32(32_768)

    @property
    def hours(self) -> float:
        """How much there is."""
        return sum(one.samples for one in self.utterances) / SAMPLE_RATE_HZ / 3600

    def _sound(self, shard: int) -> NDArray[np.int16]:
        if shard not in self._sounds:
            decoded = self.folder / "decoded" / f"{self.split}-{shard:05}.npy"
            if not decoded.exists():
                import soundfile

                decoded.parent.mkdir(exist_ok=True)
                sound, _ = soundfile.read(_sound(self.folder, self.split, shard), dtype="int16")
                # Several processes may need it first.
                partial = decoded.with_suffix(f".{os.getpid()}.partial")
                with partial.open("wb") as file:
                    np.save(file, sound)
                partial.replace(decoded)
            self._sounds[shard] = np.load(decoded, mmap_mode="r")
        return self._sounds[shard]


def has_shard(folder: Path, split: Split, shard: int) -> bool:
    """Whether a shard is complete."""
    return _index(folder, split, shard).exists()


def write_shard(
    folder: Path, split: Split, shard: int, lines: Sequence[Line], takes: "Sequence[Take]"
) -> float:
    """Writes a shard; how many seconds of speech it holds."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    gap = np.zeros(_GAP_SAMPLES, np.float32)
    pieces, rows, start = [gap], [], _GAP_SAMPLES
    for line, take in zip(lines, takes, strict=True):
        pieces += [take.audio, gap]
        row = Utterance(
            **asdict(line),
            shard=shard,
            start=start,
            samples=len(take.audio),
            symbols=take.symbols,
            ends_ms=take.ends_ms,
            words_ms=take.words_ms,
        )
        rows.append(json.dumps(asdict(row), ensure_ascii=False))
        start += len(take.audio) + _GAP_SAMPLES
    soundfile.write(
        _sound(folder, split, shard),
        np.concatenate(pieces),
        SAMPLE_RATE_HZ,
        format="OGG",
        subtype="OPUS",
        compression_level=_COMPRESSION,
    )
    index = _index(folder, split, shard)
    partial = index.with_suffix(".partial")
    partial.write_text("\n".join(rows) + "\n", "utf-8")
    partial.replace(index)
    return sum(len(take.audio) for take in takes) / SAMPLE_RATE_HZ


def read_index(folder: Path, split: Split, shard: int) -> list[Utterance]:
    """The utterances of a shard."""
    lines = _index(folder, split, shard).read_text("utf-8").splitlines()
    return [
        Utterance(
            **{
                **row,
                "ends_ms": tuple(row["ends_ms"]),
                "words_ms": tuple((begin, end) for begin, end in row["words_ms"]),
            }
        )
        for row in map(json.loads, lines)
    ]


def _index(folder: Path, split: Split, shard: int) -> Path:
    return folder / f"{split}-{shard:05}.jsonl"


def _sound(folder: Path, split: Split, shard: int) -> Path:
    return folder / f"{split}-{shard:05}.ogg"


def _number(index: Path) -> int:
    return int(index.stem.rpartition("-")[2])
