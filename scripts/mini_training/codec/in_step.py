"""The same speech, its pitch in step with the frames: what the decoder is asked for.

A codec of this size cannot say at which phase each partial of a voice stands, in 72 bits a frame.
Asked for a voice as it was recorded, and judged by magnitudes alone, it made one that hisses and
hums at one pitch: understood, but nobody's. So it is asked for a sound that it can know all of: in
every frame of 80 ms the voice makes a whole number of cycles, beginning at phase 0. Then the number
of cycles and the envelope say every sample of what is voiced. An ear hears the pitch go up and down
in steps of 12.5 Hz, and the same person. WORLD takes the speech apart and puts it together again
(Morise et al. 2016, the pyworld package); in between only the pitch is changed.

What the encoder is given stays as it is; so codes hold nothing of phases either, and the speech
model need not guess them.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.mini_training.codec.codes import played
from scripts.mini_training.codec.model import FRAME_SAMPLES, MOST_CYCLES
from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ, Corpus, Utterance
from scripts.mini_training.data.splits import Split
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.progress import Progress

_HOP_MS = 5.0
_HOP_SAMPLES = round(_HOP_MS * SAMPLE_RATE_HZ / 1e3)
_HOPS = FRAME_SAMPLES // _HOP_SAMPLES
_FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
_LOWEST_HZ, _HIGHEST_HZ = 71.0, 420.0  # the lowest for which WORLD's envelope has room
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
    import pyworld

    frames = -(-len(audio) // FRAME_SAMPLES)
    samples = frames * FRAME_SAMPLES
    # A hop more, so that there is a feature at the end of the last frame, too.
    sound = np.pad(audio.astype(np.float64), (0, samples + _HOP_SAMPLES - len(audio)))
    pitch, times = pyworld.dio(
        sound, SAMPLE_RATE_HZ, f0_floor=_LOWEST_HZ, f0_ceil=_HIGHEST_HZ, frame_period=_HOP_MS
    )
    pitch = pyworld.stonemask(sound, pitch, times, SAMPLE_RATE_HZ)
    envelope = pyworld.cheaptrick(sound, pitch, times, SAMPLE_RATE_HZ)
    noise = pyworld.d4c(sound, pitch, times, SAMPLE_RATE_HZ)
    by_frame = pitch[: frames * _HOPS].reshape(frames, _HOPS)
    voiced = (by_frame > 0).mean(axis=1)
    cycles = whole_cycles(_through_gaps(by_frame), voiced)
    # Where there is no voice the cycles go on, of noise alone.
    noise = np.where(pitch[:, None] > 0, noise, 1.0)
    stepped = np.resize(stepped_pitch_hz(cycles), len(pitch))
    made = pyworld.synthesize(stepped, envelope, noise, SAMPLE_RATE_HZ, _HOP_MS)[:samples]
    level = np.sqrt(np.square(audio).sum() / max(np.square(made).sum(), 1e-12))
    return (level * made).astype(np.float32), np.where(voiced >= 0.5, cycles, 0).astype(np.uint8)


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


def stepped_pitch_hz(cycles: NDArray[np.int64]) -> NDArray[np.float64]:
    """The pitch every 5 ms with which WORLD, which joins these by lines, counts so many cycles.

    Args:
        cycles: [frames].

    Returns:
        [16 * frames + 1], the last at the end of the last frame.
    """
    between = np.concatenate([cycles[:1], (cycles[1:] + cycles[:-1]) / 2, cycles[-1:]]) / _FRAME_S
    # What a frame's edges, each counted half, leave to the points inside it.
    inside = (_HOPS * cycles / _FRAME_S - (between[:-1] + between[1:]) / 2) / (_HOPS - 1)
    frames = np.repeat(inside[:, None], _HOPS, axis=1)
    frames[:, 0] = between[:-1]
    return np.concatenate([frames.ravel(), between[-1:]], dtype=np.float64)


def _through_gaps(pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pitch, going on from where it was to where it will be while nothing is voiced."""
    flat = pitch.ravel()
    voiced = np.flatnonzero(flat)
    if not len(voiced):
        return np.full_like(pitch, _UNVOICED_HZ)
    through = np.interp(np.arange(len(flat)), voiced, np.log(flat[voiced]))
    return np.exp(through).reshape(pitch.shape)


class InStep:
    """A corpus beside what is wanted of it, at every pace, as it lies on disk."""

    def __init__(self, corpus: Corpus, paces: Sequence[float]) -> None:
        """Looks up what each shard holds.

        Raises:
            TrainingError: Some shards were not made.
        """
        self.corpus, self.paces = corpus, tuple(paces)
        self._pieces: dict[tuple[int, float], _Pieces] = {}
        self._begins: dict[tuple[int, int, float], tuple[int, int]] = {}
        for shard in corpus.shards:
            for pace in paces:
                files = _files(corpus, shard, pace)
                if not all(file.exists() for file in files):
                    raise TrainingError(f"{files[0]} is not there; the codec stage makes it.")
                sound, wanted, cycles, frames = (np.load(file, mmap_mode="r") for file in files)
                self._pieces[shard, pace] = _Pieces(sound, wanted, cycles)
                ends = np.cumsum(frames).tolist()
                of_shard = (one for one in corpus.utterances if one.shard == shard)
                for one, begin, end in zip(of_shard, [0, *ends], ends, strict=False):
                    self._begins[shard, one.start, pace] = begin, end

    def of(
        self, one: Utterance, pace: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """An utterance as it is given, as it is wanted, and its cycles; the first two in frames."""
        pieces = self._pieces[one.shard, pace]
        begin, end = self._begins[one.shard, one.start, pace]
        samples = slice(begin * FRAME_SAMPLES, end * FRAME_SAMPLES)
        sound, wanted = (
            np.asarray(piece[samples], np.float32) / np.float32(32_768)
            for piece in (pieces.sound, pieces.wanted)
        )
        return sound, wanted, pieces.cycles[begin:end]


@dataclass(frozen=True)
class _Pieces:
    sound: NDArray[np.int16]
    wanted: NDArray[np.int16]
    cycles: NDArray[np.uint8]


def make(corpus: Corpus, paces: Sequence[float], progress: Progress, processes: int) -> InStep:
    """Puts in step the shards that are not; a minute of speech takes a core nine seconds."""
    missing = [
        (shard, pace)
        for shard in corpus.shards
        for pace in paces
        if not all(file.exists() for file in _files(corpus, shard, pace))
    ]
    if missing:
        progress.count(len(missing), "shards")
        one = partial(_make_shard, corpus.folder, corpus.split)
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for number, _ in enumerate(pool.map(one, *zip(*missing, strict=True)), 1):
                progress.at(number, f"{corpus.split}, in step with the frames")
    return InStep(corpus, paces)


def _make_shard(folder: Path, split: Split, shard: int, pace: float) -> None:
    corpus = Corpus(folder, split)
    sounds = [played(corpus.audio(one), pace) for one in corpus.utterances if one.shard == shard]
    made = [in_step(sound) for sound in sounds]
    whole = [np.pad(sound, (0, -len(sound) % FRAME_SAMPLES)) for sound in sounds]
    # The last one is written last, and says how many frames each utterance has.
    arrays = (
        _integers(whole),
        _integers([wanted for wanted, _ in made]),
        np.concatenate([cycles for _, cycles in made]),
        np.array([len(cycles) for _, cycles in made]),
    )
    for file, array in zip(_files(corpus, shard, pace), arrays, strict=True):
        file.parent.mkdir(exist_ok=True)
        unfinished = file.with_suffix(".partial")
        with unfinished.open("wb") as opened:
            np.save(opened, array)
        unfinished.replace(file)


def _integers(sounds: list[NDArray[np.float32]]) -> NDArray[np.int16]:
    return (np.concatenate(sounds).clip(-1, 1) * 32_767).astype(np.int16)


def _files(corpus: Corpus, shard: int, pace: float) -> list[Path]:
    folder = corpus.folder / "in_step"
    stem = f"{corpus.split}-{shard:05}-{pace:g}"
    return [folder / f"{stem}.{part}.npy" for part in ("sound", "wanted", "cycles", "frames")]
