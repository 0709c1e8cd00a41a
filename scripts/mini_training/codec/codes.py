"""The whole corpus as codes, several times over, each a little shifted in time.

A frame is 80 ms, and where in it a sentence begins is chance: shifted by 10 ms it has other codes
altogether. And played a little faster or slower, which moves the formants too, it is another
speaker's. To a speech model each is another rendering, for a tenth of what Kokoro asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor
from transformers import MimiModel

from scripts.mini_training.codec.model import FRAME_SAMPLES
from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ, Corpus, Utterance, read_index
from scripts.mini_training.data.splits import Split
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.progress import Progress

_AT_ONCE = 16
PACES = (1.0, 0.94, 1.07)
"""Of the renderings that are learned from, in turn. What is held out is judged as it is."""


@dataclass(frozen=True)
class Rendering:
    """An utterance as codes.

    Attributes:
        codes: uint16 [frames, codebooks].
        shift_ms: How much silence was put before it.
    """

    codes: NDArray[np.uint16]
    shift_ms: float


def read_codec(work: Path) -> Any:
    """The trained codec.

    Raises:
        TrainingError: There is none yet.
    """
    folder = work / "codec"
    if not folder.exists():
        raise TrainingError(f"{folder} is not there; run the codec stage first.")
    return MimiModel.from_pretrained(folder).eval()


def make(
    folder: Path,
    corpus: Corpus,
    codec: Any,
    *,
    paces: Sequence[float],
    seed: int,
    progress: Progress,
) -> None:
    """Encodes the shards that are not encoded yet.

    Args:
        folder: Where the codes go.
        corpus: What is encoded.
        codec: With what.
        paces: Of the renderings of each utterance, each of which is shifted by chance.
        seed: Of the chance.
        progress: Told of every shard.
    """
    progress.count(len(corpus.shards), "shards")
    for done, shard in enumerate(corpus.shards):
        file = _file(folder, corpus.split, shard)
        progress.at(done, corpus.split)
        if file.exists():
            continue
        rng = np.random.default_rng((seed, shard))
        own = [one for one in corpus.utterances if one.shard == shard]
        shifted = rng.integers(0, FRAME_SAMPLES, (len(own), len(paces)))
        sounds = [
            np.pad(played(corpus.audio(one), pace), (int(shift), 0))
            for one, row in zip(own, shifted, strict=True)
            for shift, pace in zip(row, paces, strict=True)
        ]
        codes = encode(codec, sounds)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        with partial.open("wb") as out:
            np.savez(
                out,
                codes=np.concatenate(codes),
                frames=np.array([len(one) for one in codes]),
                shifts=shifted,
                paces=np.array(paces),
            )
        partial.replace(file)


def played(audio: NDArray[np.float32], pace: float) -> NDArray[np.float32]:
    """A sound so much faster, and higher by as much."""
    if pace == 1.0:
        return audio
    rate = round(SAMPLE_RATE_HZ * pace)
    sound = torch.from_numpy(audio)
    return torchaudio.functional.resample(sound, rate, SAMPLE_RATE_HZ).numpy()


def at_pace(one: Utterance, pace: float) -> Utterance:
    """What an utterance is at another pace: somebody else's, and sooner over."""
    if pace == 1.0:
        return one
    words_ms = tuple((round(begin / pace), round(end / pace)) for begin, end in one.words_ms)
    ends_ms = tuple(round(end / pace) for end in one.ends_ms)
    voice = f"{one.voice} at {pace:g}"
    return replace(one, voice=voice, words_ms=words_ms, ends_ms=ends_ms)


@torch.no_grad()
def encode(codec: Any, sounds: list[NDArray[np.float32]]) -> list[NDArray[np.uint16]]:
    """Codes [frames, codebooks] of each sound, the last frame filled up with silence.

    All of Mimi is causal, so what a batch puts after a sound changes none of its frames.
    """
    frames = [-(-len(sound) // FRAME_SAMPLES) for sound in sounds]
    order = np.argsort(frames)
    found: dict[int, NDArray[np.uint16]] = {}
    for begin in range(0, len(order), _AT_ONCE):
        some = order[begin : begin + _AT_ONCE]
        audio = np.zeros((len(some), frames[some[-1]] * FRAME_SAMPLES), np.float32)
        for row, index in enumerate(some):
            audio[row, : len(sounds[index])] = sounds[index]
        codes: Tensor = codec.encode(
            torch.from_numpy(audio)[:, None].to(codec.device)
        ).audio_codes.transpose(1, 2)
        for row, index in enumerate(some):
            found[int(index)] = codes[row, : frames[index]].cpu().numpy().astype(np.uint16)
    return [found[index] for index in range(len(sounds))]


def read(data: Path, folder: Path, split: Split) -> list[tuple[Utterance, list[Rendering]]]:
    """Every encoded utterance of a split with its renderings, those of another pace apart.

    Raises:
        TrainingError: Nothing is encoded yet.
    """
    found: list[tuple[Utterance, list[Rendering]]] = []
    for file in sorted(folder.glob(f"{split}-*.npz")):
        with np.load(file) as stored:
            codes, frames, shifts = stored["codes"], stored["frames"], stored["shifts"]
            paces = stored["paces"].tolist()
        pieces = iter(np.split(codes, np.cumsum(frames)[:-1]))
        shard = int(file.stem.rpartition("-")[2])
        for one, row in zip(read_index(data, split, shard), shifts, strict=True):
            by_pace: dict[float, list[Rendering]] = {pace: [] for pace in paces}
            for shift, pace in zip(row, paces, strict=True):
                by_pace[pace].append(Rendering(next(pieces), _ms(shift)))
            found.extend((at_pace(one, pace), some) for pace, some in by_pace.items())
    if not found:
        raise TrainingError(f"{folder} holds no codes for {split!r}; run the encode stage first.")
    return found


def _ms(samples: int) -> float:
    return 1e3 * int(samples) / SAMPLE_RATE_HZ


def _file(folder: Path, split: Split, shard: int) -> Path:
    return folder / f"{split}-{shard:05}.npz"
