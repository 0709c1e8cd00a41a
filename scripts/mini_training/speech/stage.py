"""The speech stage: learn until the time is up, or until what was held out gets no better."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scripts.mini_training.codec.codes import Rendering
from scripts.mini_training.data.corpus import Utterance
from scripts.mini_training.learning import Plan, learn, load, products_in_bfloat16, save
from scripts.mini_training.progress import Progress
from scripts.mini_training.settings import SpeechSize
from scripts.mini_training.speech.batch import Batch, Batches
from scripts.mini_training.speech.dialogues import Dialogues
from scripts.mini_training.speech.losses import losses
from scripts.mini_training.speech.model import LearningSpeech, csm_config, dimensions
from scripts.mini_training.speech.tokenizer import words

Corpus = list[tuple[Utterance, list[Rendering]]]

_HELD_OUT_BATCHES = 6
_PATIENCE = 12
_CROSSED_SHARE = 0.75
_SPELLED_SHARE = 0.08


class SpeechTask:
    """Conversations, and what comes next in them."""

    def __init__(
        self, model: LearningSpeech, size: SpeechSize, train: Corpus, held_out: Corpus, seed: int
    ) -> None:
        """Learns from one corpus, and is judged on the other."""
        self.model, self.companion = model, None
        self._seed, self._size = seed, size
        self._device = next(model.parameters()).device
        self._drawing = ThreadPoolExecutor(max_workers=1)
        self._ahead: dict[int, Future[Batch]] = {}
        shape = dimensions(model.csm.config)
        self._train, self._held_out = (
            Batches(dialogues, words(), shape, size.batch_positions, spelled)
            for dialogues, spelled in (
                (Dialogues(train, _CROSSED_SHARE), _SPELLED_SHARE),
                (Dialogues(held_out), 0.0),
            )
        )

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Of a batch of conversations; the next one is laid out meanwhile."""
        ahead = self._ahead.pop(step, None) or self._drawing.submit(self._draw, step)
        self._ahead = {step + 1: self._drawing.submit(self._draw, step + 1)}
        batch = ahead.result().to(self._device)
        # Only products of matrices; the losses themselves are computed in float32.
        with products_in_bfloat16(self._device):
            found = losses(self.model, batch, depth_share=self._size.depth_share)
        return found.total, found.numbers

    def _draw(self, step: int) -> Batch:
        return self._train.draw(np.random.default_rng((self._seed, step)))

    def held_out(self, model: nn.Module) -> dict[str, float]:
        """Of the same conversations each time, of sentences that it does not learn from."""
        assert isinstance(model, LearningSpeech)
        rows = []
        for number in range(_HELD_OUT_BATCHES):
            batch = self._held_out.draw(np.random.default_rng((99, number))).to(self._device)
            found = losses(model, batch, depth_share=1.0)
            rows.append({"loss": found.codes.item(), **found.numbers})
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def train(
    work: Path,
    size: SpeechSize,
    codec_config: Any,
    train_corpus: Corpus,
    held_out: Corpus,
    plan: Plan,
    device: torch.device,
    progress: Progress,
    listen: Callable[[nn.Module], dict[str, float]] | None = None,
) -> bool:
    """The whole stage, from wherever it was.

    Returns:
        Whether it is done; the weights are then in `work / "speech.pt"`.
    """
    torch.manual_seed(plan.seed)
    model = LearningSpeech(csm_config(size, codec_config), size.dropout).to(device)
    begun = work / "speech.pt"
    if begun.exists():  # by an earlier run that is over, or in a checkpoint that was adopted
        model.load_speech(load(begun)["model"])
    task = SpeechTask(model, size, train_corpus, held_out, plan.seed)
    plan = replace(
        plan,
        rate=plan.rate or size.rate,
        patience=_PATIENCE,
        weight_decay=0.05,
        begun=begun.exists(),
    )
    if not learn(task, plan, work / "speech-learn.pt", progress, listen):
        return False
    save({"model": model.speech_weights()}, work / "speech.pt")
    return True
