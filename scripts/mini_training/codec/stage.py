"""The codec stage: learn without a quantiser, fit codebooks, learn on through them, tune the rest.

Nearly half of the time goes to the first and an eighth to learning with codes. Then those are
fixed, and the rest goes to what comes after them, since what is in a frame can be read off its
codes long before the decoder can say it, and a step for the decoder alone is a cheaper one: in
spectra, and for some sizes in the end against an adversary. How good the codec is at either end is
told in losses, in how many phonemes the first codebook still tells, and in the words that Whisper
hears in what has gone through it.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scripts.mini_training.codec.adversary import Adversary, piece, together
from scripts.mini_training.codec.books import fit_side
from scripts.mini_training.codec.clips import draw
from scripts.mini_training.codec.codes import PACES
from scripts.mini_training.codec.in_step import InStep
from scripts.mini_training.codec.in_step import make as put_in_step
from scripts.mini_training.codec.losses import PhaseLoss, SpectralLoss
from scripts.mini_training.codec.model import FRAME_SAMPLES, LearningCodec, with_cycles
from scripts.mini_training.codec.phones import IGNORED
from scripts.mini_training.codec.products import use_products
from scripts.mini_training.codec.start import hold
from scripts.mini_training.data.corpus import Corpus
from scripts.mini_training.learning import (
    Plan,
    has_bfloat16,
    learn,
    load,
    products_in_bfloat16,
    save,
    spent_minutes,
)
from scripts.mini_training.progress import Progress
from scripts.mini_training.settings import CodecSize

_LEARN_SHARE, _CODES_SHARE = 0.45, 0.12
_STRAYS_WEIGHT = 0.1
_SPECTRAL_WEIGHT, _PHASE_WEIGHT = 1.0, 0.5
_PHONE_WEIGHT, _CYCLES_WEIGHT = 0.5, 0.3
# Of the gradient at the sound, beside that of the spectra and phases.
_FOOLED_SHARE, _SEEN_SHARE = 0.5, 1.0
_HELD_OUT_BATCHES = 6
_FIT_FRAMES = 60_000
_SLOWER = {"mimi.decoder.decoder_seanet.layers.0.": 0.25}  # what loads the transform (see `start`)


class CodecTask:
    """Sound through the codec and back."""

    def __init__(
        self,
        model: LearningCodec,
        size: CodecSize,
        train: InStep,
        held_out: InStep,
        seed: int,
        adversary: Adversary | None = None,
    ) -> None:
        """Learns from one corpus, and is judged on the other; with an adversary, against it."""
        self.model, self.companion = model, adversary
        self._size, self._train, self._held_out, self._seed = size, train, held_out, seed
        self._device = next(model.parameters()).device
        self._spectral = SpectralLoss().to(self._device)
        self._phase = PhaseLoss().to(self._device)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Of a batch of clips."""
        rng = np.random.default_rng((self._seed, step))
        return self._loss(self.model, self._train, rng, step)

    def held_out(self, model: nn.Module) -> dict[str, float]:
        """Of the same clips each time, of sentences that it does not learn from."""
        found = []
        for batch in range(_HELD_OUT_BATCHES):
            rng = np.random.default_rng((99, batch))
            loss, parts = self._loss(model, self._held_out, rng)
            found.append({"loss": loss.item(), **parts})
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}

    def _loss(
        self, model: nn.Module, source: InStep, rng: np.random.Generator, step: int | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        clips = draw(source, rng, self._size.clips, self._size.clip_frames).to(self._device)
        # Not in the end, with codes: the rounding is a hiss, as loud as what a voice has at the
        # highest pitches, which the decoder must make itself.
        with products_in_bfloat16(self._device, model.training and not self.model.quantised):
            coded = model(clips.audio, clips.cycles if model.training else None)
        sound, told = self._of_sound(coded.audio.float(), clips.wanted, step)
        logits, labels = coded.phones.float().flatten(0, 2), clips.phones.flatten()
        phones = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED)
        sounding = labels > 0
        right = (logits.argmax(dim=1) == labels)[sounding].float().mean()
        pitch, cycles = coded.cycles.float().flatten(0, 1), clips.cycles.flatten()
        counted = nn.functional.cross_entropy(pitch, cycles)
        loss = (
            sound
            + _PHONE_WEIGHT * phones
            + _CYCLES_WEIGHT * counted
            + _STRAYS_WEIGHT * coded.strays
        )
        return loss, {
            **told,
            "phones": phones.item(),
            "phones right": right.item(),
            "pitch right": (pitch.argmax(dim=1) == cycles)[cycles > 0].float().mean().item(),
        }

    def _of_sound(
        self, made: Tensor, wanted: Tensor, step: int | None
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of what is heard, and its parts; at a step, against the adversary if any."""
        adversary = self.companion if step is not None else None
        heard = made if adversary is None else made.detach().requires_grad_()
        spectral, phase = self._spectral(heard, wanted), self._phase(heard, wanted)
        loss = _SPECTRAL_WEIGHT * spectral + _PHASE_WEIGHT * phase
        told = {"spectral": spectral.item(), "phase": phase.item()}
        if adversary is None or step is None:
            return loss, told
        shown = piece(step, made.shape[1] // FRAME_SAMPLES)
        told["adversary"] = adversary.learn(heard[:, shown], wanted[:, shown])
        fooled, seen = adversary.judge(heard[:, shown], wanted[:, shown])
        gradients = [
            torch.autograd.grad(part, heard, retain_graph=part is fooled)[0]
            for part in (loss, fooled, seen)
        ]
        others = zip((_FOOLED_SHARE, _SEEN_SHARE), gradients[1:], strict=True)
        told |= {"fooled": fooled.item(), "seen": seen.item()}
        return together(made, gradients[0], [*others]), told


def train(
    work: Path,
    size: CodecSize,
    train_corpus: Corpus,
    held_out: Corpus,
    plan: Plan,
    device: torch.device,
    progress: Progress,
    listen: Callable[[nn.Module], dict[str, float]] | None = None,
) -> bool:
    """The whole stage, from wherever it was.

    Returns:
        Whether it is done; the codec is then `work / "codec"`, as transformers saves it.
    """
    torch.manual_seed(plan.seed)
    model = LearningCodec(size).to(device)
    processes = torch.get_num_threads()
    learned = put_in_step(train_corpus, PACES, progress, processes)
    listened = put_in_step(held_out, (1.0,), progress, processes)
    progress.time(plan.minutes)
    first = draw(learned, np.random.default_rng(plan.seed), 4, size.clip_frames)
    model.settle(first.audio.to(device))
    hold(model.mimi.decoder.decoder_seanet)
    if device.type == "cpu" and not has_bfloat16(device):
        use_products(model.mimi)
    task = CodecTask(model, size, learned, listened, plan.seed)
    plan = replace(plan, rate=plan.rate or size.rate, slower=_SLOWER)
    codes = work / "codec-codes.pt"
    if not codes.exists():
        if not _learn_codes(task, learned, plan, work, progress, listen):
            return False
        # From here on no code changes: the speech stage need not wait for the tuning.
        model.mimi.save_pretrained(work / "codec")
        save({"model": model.state_dict()}, codes)
    model.load_state_dict(load(codes)["model"])
    model.tune()
    against = work / "codec-adversary.pt"
    if not against.exists():  # that goes on from its own state, whatever is tuned again
        # All that is left: a codec that was adopted has spent none on what comes before.
        before = sum(spent_minutes(work / f"codec-{part}.pt") for part in ("learn", "join"))
        progress.after(before)
        left = (1 - size.against) * plan.minutes - before
        share = 1 - _LEARN_SHARE - _CODES_SHARE - size.against
        minutes = max(left, share * plan.minutes)
        third = replace(plan, minutes=minutes, rate=plan.rate / 2, begun=True)
        if not learn(task, third, work / "codec-tune.pt", progress, listen):
            return False
        model.mimi.save_pretrained(work / "codec")
    if not size.against:
        return True
    progress.after((1 - size.against) * plan.minutes)
    # No distance says whether a voice buzzes: the last is taken, as it was learned longest.
    final = replace(plan, minutes=size.against * plan.minutes, rate=plan.rate / 4, keeps_best=False)
    torch.manual_seed(plan.seed)
    task = CodecTask(model, size, learned, listened, plan.seed, Adversary().to(device))
    if not learn(task, final, against, progress, listen):
        return False
    model.mimi.save_pretrained(work / "codec")
    return True


def _learn_codes(
    task: CodecTask,
    source: InStep,
    plan: Plan,
    work: Path,
    progress: Progress,
    listen: Callable[[nn.Module], dict[str, float]] | None,
) -> bool:
    """First without codebooks, then with them."""
    model = task.model
    books = work / "codec-books.pt"
    if not books.exists():
        first = replace(plan, minutes=_LEARN_SHARE * plan.minutes)
        if not learn(task, first, work / "codec-learn.pt", progress, listen):
            return False
        fit(model, source, plan.seed, progress)
        save({"model": model.state_dict()}, books)
    model.load_state_dict(load(books)["model"])
    model.quantise()
    progress.after(_LEARN_SHARE * plan.minutes)
    second = replace(plan, minutes=_CODES_SHARE * plan.minutes, rate=plan.rate / 2)
    if not learn(task, second, work / "codec-join.pt", progress, listen):
        return False
    model.fix_codes()
    return True


@torch.no_grad()
def fit(model: LearningCodec, source: InStep, seed: int, progress: Progress) -> None:
    """Fills the codebooks with what the encoder makes of a corpus, at every pace."""
    model.eval()
    device = next(model.parameters()).device
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    numbers: list[Tensor] = []
    frames = 0
    order = np.random.default_rng(seed).permutation(len(source.corpus.utterances))
    for index, pace in product(order, source.paces):
        sound, _, counted = source.of(source.corpus.utterances[index], pace)
        whole = torch.from_numpy(sound).to(device)
        cycles = torch.from_numpy(counted.astype(np.int64)).to(device)
        semantic, acoustic = model.latents(whole[None])
        for side, latents in zip(
            sides, (semantic, with_cycles(acoustic, cycles[None])), strict=True
        ):
            side.append(latents[0].T)
        numbers.append(cycles)
        frames += len(whole) // FRAME_SAMPLES
        if frames >= _FIT_FRAMES:
            break
    both: tuple[tuple[str, Any, Tensor | None], ...] = (
        ("semantic", model.semantic, None),
        ("acoustic", model.acoustic, torch.cat(numbers)),
    )
    for (name, side, kinds), vectors in zip(both, sides, strict=True):
        fit_side(
            side,
            torch.cat(vectors),
            seed,
            lambda index, left, name=name: progress.report(
                side=name, book=index, variance_left=left
            ),
            kinds,
        )
