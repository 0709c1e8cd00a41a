"""Pieces of utterances, cut at random, for the codec to learn from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scripts.mini_training.codec.model import FRAME_SAMPLES
from scripts.mini_training.codec.phones import phone_labels
from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ, Corpus

_GAINS_DB = (-6.0, 3.0)


@dataclass(frozen=True)
class Clips:
    """A batch.

    Attributes:
        audio: float32 [clips, samples].
        phones: int64 [clips, frames, points]; see `phone_labels`.
    """

    audio: Tensor
    phones: Tensor

    def to(self, device: torch.device) -> "Clips":
        """The same on another device."""
        return Clips(self.audio.to(device), self.phones.to(device))


def draw(corpus: Corpus, rng: np.random.Generator, clips: int, frames: int) -> Clips:
    """Cuts clips, each from an utterance of its own, from half before its start to its end.

    What lies outside the utterance is silence; the loudness varies a little, as live sound does.
    """
    samples = frames * FRAME_SAMPLES
    audio = np.zeros((clips, samples), np.float32)
    labels = []
    for row in range(clips):
        one = corpus.utterances[rng.integers(len(corpus.utterances))]
        sound = corpus.audio(one)
        earliest = -samples // 2 if rng.random() < 0.5 else 0
        start = int(rng.integers(earliest, max(len(sound) - samples, 0) + 1))
        begin = max(start, 0)
        piece = sound[begin : start + samples]
        gain = 10 ** (rng.uniform(*_GAINS_DB) / 20)
        audio[row, begin - start : begin - start + len(piece)] = gain * piece
        labels.append(phone_labels(one, 1e3 * start / SAMPLE_RATE_HZ, frames))
    return Clips(torch.from_numpy(audio.clip(-1, 1)), torch.from_numpy(np.stack(labels)))
