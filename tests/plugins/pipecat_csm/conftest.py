"""Tiny checkpoints, written by transformers and loaded as anybody's would be.

Where there is a GPU, every test that asks for a `pair` runs three times: on the CPU, on the GPU as
it is written, and on the GPU with every frame as one graph.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from pipecat_csm.engine.graphs import GraphedStep
from pipecat_csm.engine.runner import Runner
from pipecat_csm.model.checkpoint import Checkpoint, load_checkpoint
from transformers import CsmForConditionalGeneration

from tests.plugins.pipecat_csm.tiny import SHAPES, save_tiny, tiny_csm


@dataclass(frozen=True)
class Pair:
    """The same weights twice: transformers' model, and ours."""

    reference: CsmForConditionalGeneration
    checkpoint: Checkpoint


@pytest.fixture(
    scope="session", params=["cpu", *(["cuda", "graph"] if torch.cuda.is_available() else [])]
)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the model lies, and, for "graph", how its steps run."""
    if request.param == "cpu":
        yield "cpu"
        return
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "graph":
            patch.setattr(Runner, "__init__", _with_graphs(Runner.__init__))
        yield "cuda"


def _with_graphs(init: Callable[..., None]) -> Callable[..., None]:
    def init_with_graphs(self: Runner, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **({"step": GraphedStep()} | kwargs))

    return init_with_graphs


@pytest.fixture(scope="session")
def pair(device: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    """Makes a pair of a shape of `SHAPES` and a dtype; each only once.

    transformers' model is on the CPU.
    """

    @cache
    def make(shape: str = "small", dtype: torch.dtype = torch.float64) -> Pair:
        reference = tiny_csm(dtype=dtype, **SHAPES[shape])
        folder = save_tiny(reference, tmp_path_factory.mktemp(shape))
        return Pair(reference, load_checkpoint(folder, device=device, dtype=dtype))

    return make
