"""Tiny checkpoints, written by transformers and loaded as anybody's would be."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from pipecat_csm.model.checkpoint import Checkpoint, load_checkpoint
from transformers import CsmForConditionalGeneration

from tests.plugins.pipecat_csm.tiny import SHAPES, save_tiny, tiny_csm


@dataclass(frozen=True)
class Pair:
    """The same weights twice: transformers' model, and ours."""

    reference: CsmForConditionalGeneration
    checkpoint: Checkpoint


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    """Makes a pair of a shape of `SHAPES` and a dtype; each only once."""

    @cache
    def make(shape: str = "small", dtype: torch.dtype = torch.float64) -> Pair:
        reference = tiny_csm(dtype=dtype, **SHAPES[shape])
        folder = save_tiny(reference, tmp_path_factory.mktemp(shape))
        return Pair(reference, load_checkpoint(folder, dtype=dtype))

    return make
