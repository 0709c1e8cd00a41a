"""A corpus of beeps instead of speech: it takes no model, and a tiny codec can learn it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import MimiModel

from scripts.mini_training.codec.books import fit_side
from scripts.mini_training.codec.model import LearningCodec
from scripts.mini_training.data import stage
from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ, Corpus
from scripts.mini_training.data.grammar import Grammar
from scripts.mini_training.data.speaking import Take
from scripts.mini_training.data.voices import Voice
from scripts.mini_training.progress import Progress
from scripts.mini_training.settings import SIZES

SMOKE = SIZES["smoke"]
WORD_S, LEAD_S = 0.16, 0.04


class Beeper:
    """Reads a word as a beep, whose tone is its first letter's; counts what it has read."""

    def __init__(self) -> None:
        self.read_lines = 0

    def read(self, text: str, voice: Voice, speed: float) -> Take:
        self.read_lines += 1
        words = text.split()
        time_s = np.arange(int(WORD_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        hertz = [voice.pitch * (200 + 25 * (ord(word[0].lower()) - 97)) for word in words]
        beeps = [0.2 * np.sin(2 * np.pi * one * time_s) for one in hertz]
        lead = np.zeros(int(LEAD_S * SAMPLE_RATE_HZ))
        ends_ms = tuple(round(1e3 * (LEAD_S + WORD_S * (n + 1))) for n in range(len(words)))
        starts_ms = (round(1e3 * LEAD_S), *ends_ms[:-1])
        return Take(
            np.concatenate([lead, *beeps, lead]).astype(np.float32),
            "ə" * len(words),
            ends_ms,
            tuple(zip(starts_ms, ends_ms, strict=True)),
        )


def silent_progress() -> Progress:
    return Progress("test", 1, quiet=True)


def make_corpus(folder: Path, *, reader: Beeper | None = None, minutes: float = 0.0) -> None:
    """A shard of either held-out split, and as many for learning as there is time for."""
    stage.make(
        folder,
        Grammar.closed(),
        reader or Beeper(),
        minutes=minutes,
        seed=0,
        progress=silent_progress(),
        shard_lines=24,
        held_out_shards=1,
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the data stage, with shards of all splits."""
    folder = tmp_path_factory.mktemp("mini") / "data"
    make_corpus(folder)
    make_corpus(folder, minutes=1e-3)
    return folder


@pytest.fixture(scope="session")
def train(data: Path) -> Corpus:
    return Corpus(data, "train")


@pytest.fixture(scope="session")
def held_out(data: Path) -> Corpus:
    return Corpus(data, "heldout")


@pytest.fixture(scope="session")
def codec(train: Corpus) -> MimiModel:
    """An untrained codec whose codebooks fit what its encoder makes."""
    torch.manual_seed(0)
    model = LearningCodec(SMOKE.codec).eval()
    audio = torch.from_numpy(
        np.stack([np.resize(train.audio(one), 24_000) for one in train.utterances[:16]])
    )
    model.settle(audio[:, : 12 * 1_920])
    with torch.no_grad():
        for side, latents in zip(
            (model.semantic, model.acoustic), model.latents(audio[:, : 12 * 1_920]), strict=True
        ):
            vectors = latents.transpose(1, 2).flatten(0, 1)
            fit_side(side, vectors, 0, lambda index, left: None)
    return model.mimi
