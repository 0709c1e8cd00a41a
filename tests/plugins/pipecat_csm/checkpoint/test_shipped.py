"""csm-mini, which comes with the package: the same model for everyone, under one name."""

import re
from pathlib import Path

import pytest
import torch
from pipecat_csm import load_csm_1b
from pipecat_csm.comparison import compare_with_transformers
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.checkpoint.shipped import FOLDER, NAME, located
from pipecat_csm.text import normalise


def test_it_is_found_by_its_name_and_others_where_they_are(tmp_path: Path):
    assert located(NAME) == FOLDER
    assert located("sesame/csm-1b") == "sesame/csm-1b"
    assert located(tmp_path) == tmp_path
    assert load_checkpoint(NAME).source == NAME


def test_it_is_small_and_says_what_it_is():
    assert 0 < sum(file.stat().st_size for file in FOLDER.iterdir()) < 40_000_000
    card = (FOLDER / "README.md").read_text("utf-8")
    for heading in ("Data", "Licence", "Figures", "Limits"):
        assert re.search(rf"^## {heading}", card, re.MULTILINE), heading


def test_transformers_reads_the_same_model():
    found = compare_with_transformers(NAME, dtype=torch.float64, frames=25, say=lambda _: None)
    assert found.same_choice == 1
    assert found.largest < 1e-9


def test_it_is_drawn_from_as_its_maker_found_best():
    with load_csm_1b("cpu", checkpoint=NAME, compile=False, max_sessions=1) as generator:
        sampling = generator.sampling()
    assert sampling.temperature < 0.9
    assert sampling.top_k < 50


@pytest.mark.parametrize("text", ["Yes.", "Quantum chromodynamics!", "é", "12,345"])
def test_what_it_never_learned_does_it_no_harm(text: str):
    with load_csm_1b("cpu", checkpoint=NAME, compile=False, max_sessions=1) as generator:
        audio = generator.generate(normalise(text), 0, max_audio_length_ms=2_000, seed=0)
    assert 0 < len(audio) <= 48_000
    assert bool(audio.isfinite().all())


def test_it_names_no_path_of_the_machine_that_made_it():
    for file in FOLDER.glob("*.json"):
        assert '"/' not in file.read_text("utf-8").replace('"/"', ""), file.name
