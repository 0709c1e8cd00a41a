"""One engine for all conversations of these tests."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.segment import Segment

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

SESSIONS = 3


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A tiny CSM whose frames are 80 ms, as the real one's are."""
    shape: dict[str, Any] = {"codec_config": {"upsampling_ratios": [8, 6, 5, 4]}}
    folder = save_tiny(tiny_csm(**shape), tmp_path_factory.mktemp("csm"))
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config.codec.frame_samples == 1920
    runner = Runner(checkpoint.model, slots=SESSIONS + 1)
    with Engine(runner, checkpoint.tokenizer, spares=1) as engine:
        yield engine


@pytest.fixture(scope="session")
def voices() -> dict[str, list[Segment]]:
    """Two voices: one of a reference, and one without."""
    codes = torch.randint(0, 16, (20, 4), generator=torch.manual_seed(7))
    return {"ada": [Segment("This is how I sound.", 0, codes=codes)], "nobody": []}
