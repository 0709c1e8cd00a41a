"""Conversations as rows of numbers: exactly those that the live engine feeds.

The rows are made by `pipecat_csm.model.prompt`, so that what is learned is what will be asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.prompt import audio_frames, concat, text_frames
from torch import Tensor

from scripts.mini_training.speech.alignment import letters_spoken
from scripts.mini_training.speech.dialogues import Dialogues, Turn
from scripts.mini_training.speech.tokenizer import letters

_NOWHERE = -1


@dataclass(frozen=True)
class Batch:
    """Several conversations, one a line, filled up with nothing.

    Attributes:
        tokens: int64 [lines, rows, codebooks + 1].
        mask: bool, of the same shape; False throughout where a line is filled up.
        looks: int64 [lines, rows]; where a row predicts a frame, the row of the word or letter
            that is spoken in that frame; elsewhere -1.
    """

    tokens: Tensor
    mask: Tensor
    looks: Tensor

    @property
    def predicts(self) -> Tensor:
        """bool [lines, rows]: after which rows sound follows, its closing frame included."""
        return self.looks >= 0

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(self.tokens.to(device), self.mask.to(device), self.looks.to(device))


class Batches:
    """Draws batches."""

    def __init__(
        self,
        dialogues: Dialogues,
        tokenizer: tokenizers.Tokenizer,
        config: CSMConfig,
        positions: int,
        spelled_share: float = 0.0,
    ) -> None:
        """Prepares.

        Args:
            dialogues: Where the conversations come from.
            tokenizer: The checkpoint's.
            config: Its dimensions.
            positions: About so many are in a batch, padding included.
            spelled_share: Of the conversations, how many are written in letters alone.
        """
        self._dialogues, self._tokenizer, self._config = dialogues, tokenizer, config
        self._positions, self._spelled_share = positions, spelled_share

    def draw(self, rng: np.random.Generator) -> Batch:
        """One batch: conversations of like lengths, so that little of it is padding."""
        spelled = rng.random(self._pool) < self._spelled_share
        ways = [letters() if one else self._tokenizer for one in spelled]
        drawn = [(tokenizer, self._dialogues.draw(rng)) for tokenizer in ways]
        rows = [rows_of(*one) for one in drawn]
        order = np.argsort(rows, kind="stable")
        start = int(rng.integers(len(order)))
        chosen = [order[start]]
        for index in order[start + 1 :]:
            if (len(chosen) + 1) * rows[index] > self._positions:
                break
            chosen.append(index)
        lines = (drawn[index] for index in chosen)
        return filled_up([lay_out(how, self._config, turns) for how, turns in lines])

    @property
    def _pool(self) -> int:
        # Conversations have 60 to 1,000 rows; most have some 200.
        return max(4, self._positions // 60)


@dataclass(frozen=True)
class Line:
    """One conversation: a `Batch` without its first dimension."""

    tokens: Tensor
    mask: Tensor
    looks: Tensor


def lay_out(tokenizer: tokenizers.Tokenizer, config: CSMConfig, turns: Sequence[Turn]) -> Line:
    """The rows of a conversation, every Segment of it closed."""
    prompts, looks, row = [], [], 0
    for turn in turns:
        text = text_frames(tokenizer, config, turn.utterance.text, turn.speaker)
        codes = torch.from_numpy(turn.rendering.codes.astype(np.int64))
        sound = audio_frames(config, codes, closed=True)
        frames = len(codes)
        at = letters_spoken(turn.utterance, turn.rendering.shift_ms, frames)
        rows = rows_of_characters(tokenizer, turn)[at]
        spoken = torch.full((len(text) + len(sound),), _NOWHERE)
        spoken[len(text) - 1 : len(text) - 1 + frames] = row + torch.from_numpy(rows)
        spoken[len(text) - 1 + frames] = row + len(text) - 1  # the end is where the text ends
        prompts += [text, sound]
        looks.append(spoken)
        row += len(text) + len(sound)
    rows = concat(prompts)
    return Line(rows.tokens, rows.mask, torch.cat(looks))


def rows_of_characters(tokenizer: tokenizers.Tokenizer, turn: Turn) -> NDArray[np.int64]:
    """The row, within a turn's own, of each character of its text: [characters]."""
    speaker = f"[{turn.speaker}]"
    spans = tokenizer.encode(speaker + turn.utterance.text).offsets
    rows = np.zeros(len(speaker) + len(turn.utterance.text), np.int64)
    for row, (begin, end) in enumerate(spans):
        rows[begin:end] = row
    return rows[len(speaker) :]


def rows_of(tokenizer: tokenizers.Tokenizer, turns: Sequence[Turn]) -> int:
    """How many rows a conversation has."""
    return sum(
        # The text, framed; then the sound and the closing frame.
        len(tokenizer.encode(f"[{turn.speaker}]{turn.utterance.text}").ids)
        + len(turn.rendering.codes)
        + 1
        for turn in turns
    )


def filled_up(lines: Sequence[Line]) -> Batch:
    """Lines of several lengths as one batch."""

    def together(tensors: list[Tensor], value: int) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)

    return Batch(
        together([line.tokens for line in lines], 0),
        together([line.mask for line in lines], 0),
        together([line.looks for line in lines], _NOWHERE),
    )
