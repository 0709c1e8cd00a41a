"""Pieces of utterances, cut at random, for the codec to learn from.

They begin at frames of the utterance, as what is wanted of the decoder is in step with those.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scripts.mini_training.codec.codes import at_pace
from scripts.mini_training.codec.in_step import InStep
from scripts.mini_training.codec.model import FRAME_SAMPLES
from scripts.mini_training.codec.phones import phone_labels

_FRAME_MS = 80
_GAINS_DB = (-6.0, 3.0)


@dataclass(frozen=True)
class Clips:
    """A batch.

    Attributes:
        audio: float32 [clips, samples].
        wanted: float32 [clips, samples], what the decoder is to make of it; see `in_step`.
        cycles: int64 [clips, frames], of the voice, 0 where there is none.
        phones: int64 [clips, frames, points]; see `phone_labels`.
    """

    audio: Tensor
    wanted: Tensor
    cycles: Tensor
    phones: Tensor

    def to(self, device: torch.device) -> "Clips":
        """The same on another device."""
        moved = (one.to(device) for one in (self.audio, self.wanted, self.cycles, self.phones))
        return Clips(*moved)


def draw(source: InStep, rng: np.random.Generator, clips: int, frames: int) -> Clips:
    """Cuts clips, each from an utterance of its own, from half before its start to its end.

    What lies outside the utterance is silence; the loudness varies a little, as live sound does.
    """
    utterances = source.corpus.utterances
    samples = frames * FRAME_SAMPLES
    audio = np.zeros((clips, samples), np.float32)
    in_step = np.zeros_like(audio)
    cycles = np.zeros((clips, frames), np.int64)
    labels = []
    for row in range(clips):
        one = utterances[rng.integers(len(utterances))]
        pace = source.paces[rng.integers(len(source.paces))]
        sound, made, counted = source.of(one, pace)
        earliest = -(frames // 2) if rng.random() < 0.5 else 0
        start = int(rng.integers(earliest, max(len(counted) - frames, 0) + 1))
        first, skipped = max(start, 0), max(-start, 0)
        counted = counted[first : start + frames]
        cycles[row, skipped : skipped + len(counted)] = counted
        gain = 10 ** (rng.uniform(*_GAINS_DB) / 20)
        for whole, pieces in ((sound, audio), (made, in_step)):
            piece = gain * whole[first * FRAME_SAMPLES : (start + frames) * FRAME_SAMPLES]
            pieces[row, skipped * FRAME_SAMPLES :][: len(piece)] = piece.clip(-1, 1)
        labels.append(phone_labels(at_pace(one, pace), start * _FRAME_MS, frames))
    both = torch.from_numpy(audio), torch.from_numpy(in_step)
    return Clips(*both, torch.from_numpy(cycles), torch.from_numpy(np.stack(labels)))
