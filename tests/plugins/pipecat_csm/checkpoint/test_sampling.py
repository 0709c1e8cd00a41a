"""A checkpoint says how it is best drawn from, and the Python API does so by default."""

import json
from pathlib import Path

import pytest
from pipecat_csm import load_csm_1b
from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.sampling import SamplingOptions

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("sampling"))


def says(folder: Path, **values: object) -> Path:
    (folder / "generation_config.json").write_text(json.dumps(values))
    return folder


def test_it_is_read(folder: Path):
    assert load_checkpoint(says(folder, temperature=0.6, top_k=30)).sampling == SamplingOptions(
        temperature=0.6, top_k=30
    )


def test_what_it_does_not_say_is_as_sesame_has_it(folder: Path):
    assert load_checkpoint(says(folder, top_k=None)).sampling == SamplingOptions()
    (folder / "generation_config.json").unlink()
    assert load_checkpoint(folder).sampling == SamplingOptions(temperature=0.9, top_k=50)


def test_nonsense_is_named(folder: Path):
    with pytest.raises(CheckpointError, match=r"generation_config\.json makes no sense.*temper"):
        load_checkpoint(says(folder, temperature=-1))


def test_the_generator_draws_so_unless_told_otherwise(folder: Path):
    with load_csm_1b("cpu", checkpoint=says(folder, temperature=0.0), compile=False) as generator:
        greedy = generator.generate_frames("Hello.", 0, max_frames=6)
        assert greedy.tolist() == generator.generate_frames("Hello.", 0, max_frames=6).tolist()
        drawn = generator.generate_frames("Hello.", 0, max_frames=6, temperature=5.0, topk=0)
        assert greedy.tolist() != drawn.tolist()
        assert generator.sampling(0.4, 7, seed=3) == SamplingOptions(0.4, 7, 0.0, 3)
