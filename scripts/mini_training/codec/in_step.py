"""The same speech, its pitch in step with the frames: what the decoder is asked for.

A codec of this size cannot say at which phase each partial of a voice stands, in 72 bits a frame.
Asked for a voice as it was recorded, and judged by magnitudes alone, it made one that hisses and
hums at no pitch: understood, but nobody's. So it is asked for a sound that it can know all of: in
every frame of 80 ms the voice makes a whole number of cycles, beginning at phase 0. Then the number
of cycles and the envelope say every sample of what is voiced. An ear hears the pitch go up and down
in steps of 12.5 Hz, and the same person.

What the encoder is given stays as it is; so codes hold nothing of phases either, and the speech
model need not guess them.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.mini_training.codec.model import FRAME_SAMPLES, MOST_CYCLES
from scripts.mini_training.codec.vocoder import HOP_SAMPLES, put_together, taken_apart
from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ, Corpus, Utterance
from scripts.mini_training.data.splits import Split
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.progress import Progress

_HOPS = FRAME_SAMPLES // HOP_SAMPLES
_FEWEST_CYCLES = 4
_UNVOICED_HZ = 150.0
# What a step from one frame to the next costs, beside the square of how many per cent the pitch
# is off: without it a voice between two numbers would waver.
_STEP_COST, _MOST_STEPS = 4.0, 3
_UNVOICED_WEIGHT = 0.05


def in_step(audio: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A sound in step with frames that are counted from its beginning.

    Args:
        audio: float32 [samples] at 24 kHz.

    Returns:
        float32 [frames * 1920], as loud, and uint8 [frames], the cycles of the voice in each, 0
        where most of it is not voiced.
    """
    frames = -(-len(audio) // FRAME_SAMPLES)
    whole = np.pad(audio, (0, frames * FRAME_SAMPLES - len(audio)))
    features = taken_apart(whole)
    pitch = features.pitch_hz[: frames * _HOPS].reshape(frames, _HOPS)
    cycles = whole_cycles(_through_gaps(pitch), (pitch > 0).mean(axis=1))
    passed = np.concatenate([[0], np.cumsum(cycles)])
    # A hair above the whole numbers, so that no pulse at the edge of a frame is lost to rounding.
    phase = np.interp(np.arange(len(whole)) / FRAME_SAMPLES, np.arange(frames + 1), passed) + 1e-9
    made = put_together(features, phase, seed=len(whole))
    level = np.sqrt(np.square(whole).sum() / max(np.square(made).sum(), 1e-12))
    voiced = (pitch > 0).mean(axis=1) >= 0.5
    return made * np.float32(level), np.where(voiced, cycles, 0).astype(np.uint8)


def whole_cycles(pitch_hz: NDArray[np.float64], voiced: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cycles of each frame: near to its pitch, and changing no more often than need be.

    Args:
        pitch_hz: [frames, hops], positive throughout.
        voiced: [frames], the share of each that is voiced, for which it counts.

    Returns:
        int64 [frames].
    """
    wanted = pitch_hz.mean(axis=1) * FRAME_SAMPLES / SAMPLE_RATE_HZ
    numbers = np.arange(_FEWEST_CYCLES, MOST_CYCLES + 1)
    off = (100 * (numbers / wanted[:, None] - 1)) ** 2 * (_UNVOICED_WEIGHT + voiced)[:, None]
    apart = np.abs(numbers[:, None] - numbers)
    step = _STEP_COST * np.minimum(apart, _MOST_STEPS)
    cost, came_from = off[0], []
    for frame in off[1:]:
        ways = cost[:, None] + step
        came_from.append(ways.argmin(axis=0))
        cost = ways.min(axis=0) + frame
    path = [int(cost.argmin())]
    for origins in reversed(came_from):
        path.append(int(origins[path[-1]]))
    return numbers[path[::-1]]


def _through_gaps(pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pitch, going on from where it was to where it will be while nothing is voiced."""
    flat = pitch.ravel()
    voiced = np.flatnonzero(flat)
    if not len(voiced):
        return np.full_like(pitch, _UNVOICED_HZ)
    through = np.interp(np.arange(len(flat)), voiced, np.log(flat[voiced]))
    return np.exp(through).reshape(pitch.shape)


class Wanted:
    """A corpus in step, as it lies on disk beside the decoded one."""

    def __init__(self, corpus: Corpus) -> None:
        """Looks up what each shard holds.

        Raises:
            TrainingError: Some shards were not made.
        """
        self._sounds: dict[int, NDArray[np.int16]] = {}
        self._cycles: dict[int, NDArray[np.uint8]] = {}
        self._begins: dict[tuple[int, int], tuple[int, int]] = {}
        for shard in corpus.shards:
            sounds, cycles = _files(corpus, shard)
            if not (sounds.exists() and cycles.exists()):
                raise TrainingError(f"{sounds} is not there; the codec stage makes it.")
            self._sounds[shard] = np.load(sounds, mmap_mode="r")
            self._cycles[shard] = np.load(cycles)
        counted = dict.fromkeys(corpus.shards, 0)
        for one in corpus.utterances:
            begin = counted[one.shard]
            counted[one.shard] += frames_of(one)
            self._begins[one.shard, one.start] = begin, counted[one.shard]

    def of(self, one: Utterance) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """What `in_step` gave for an utterance."""
        begin, end = self._begins[one.shard, one.start]
        sound = self._sounds[one.shard][begin * FRAME_SAMPLES : end * FRAME_SAMPLES]
        made = np.asarray(sound, np.float32) / np.float32(32_768)
        return made, self._cycles[one.shard][begin:end]


def frames_of(one: Utterance) -> int:
    """How many frames an utterance begins."""
    return -(-one.samples // FRAME_SAMPLES)


def make(corpus: Corpus, progress: Progress, processes: int) -> None:
    """Puts in step the shards that are not; a minute of speech takes a core some six seconds."""
    missing = [s for s in corpus.shards if not all(file.exists() for file in _files(corpus, s))]
    if not missing:
        return
    progress.count(len(missing), "shards")
    one = partial(_make_shard, corpus.folder, corpus.split)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for number, _ in enumerate(pool.map(one, missing), 1):
            progress.at(number, f"{corpus.split}, in step with the frames")


def _make_shard(folder: Path, split: Split, shard: int) -> None:
    corpus = Corpus(folder, split)
    made = [in_step(corpus.audio(one)) for one in corpus.utterances if one.shard == shard]
    sounds, cycles = _files(corpus, shard)
    whole = np.concatenate([sound for sound, _ in made]).clip(-1, 1)
    _save(cycles, np.concatenate([numbers for _, numbers in made]))
    _save(sounds, (whole * 32_767).astype(np.int16))


def _save(file: Path, array: NDArray[np.generic]) -> None:
    file.parent.mkdir(exist_ok=True)
    unfinished = file.with_suffix(".partial")
    with unfinished.open("wb") as opened:
        np.save(opened, array)
    unfinished.replace(file)


def _files(corpus: Corpus, shard: int) -> tuple[Path, Path]:
    stem = corpus.folder / "in_step" / f"{corpus.split}-{shard:05}"
    return stem.with_suffix(".npy"), stem.with_suffix(".cycles.npy")
