"""Cutting and comparing prompts: what a slot has read, and what it should have read."""

import torch

from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.prompt import Prompt


def no_rows(config: CSMConfig) -> Prompt:
    """A prompt of nothing."""
    shape = (0, config.codebooks + 1)
    return Prompt(torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool))


def cut(prompt: Prompt, begin: int, end: int | None = None) -> Prompt:
    """Some of its rows; a negative end counts from the last."""
    return Prompt(prompt.tokens[begin:end], prompt.mask[begin:end])


def common(one: Prompt, other: Prompt) -> int:
    """How many rows they share from the beginning."""
    length = min(len(one), len(other))
    same = (one.tokens[:length] == other.tokens[:length]).all(-1)
    same &= (one.mask[:length] == other.mask[:length]).all(-1)
    return int(same.cumprod(0).sum())
