"""A small Mimi that learns, is quantised, and codes as transformers does."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import MimiModel

from scripts.mini_training.codec import codes, stage
from scripts.mini_training.codec.books import by_rarity, k_means, nearest
from scripts.mini_training.codec.losses import SpectralLoss
from scripts.mini_training.codec.products import use_products
from scripts.mini_training.data.corpus import Corpus
from scripts.mini_training.learning import Plan, load
from tests.scripts.mini_training.conftest import SMOKE, silent_progress

PLAN = Plan(minutes=0.06, rate=0.0, check_s=1e9)
CPU = torch.device("cpu")


def test_the_same_sound_is_no_distance_away_and_silence_is_far():
    loss, sound = SpectralLoss(), 0.1 * torch.randn(2, 9_600)
    assert loss(sound, sound).item() == 0
    assert loss(0.8 * sound, sound) < loss(0.1 * sound, sound) < loss(0 * sound, sound)
    silence = torch.zeros(2, 9_600, requires_grad=True)
    loss(silence, sound).backward()
    assert silence.grad is not None
    assert bool(silence.grad.isfinite().all())


def test_k_means_finds_what_was_clustered_and_the_rarest_comes_first():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    owners = torch.tensor([0] * 50 + [1] * 5 + [2] * 20)
    vectors = centres[owners] + 0.1 * torch.randn(75, 2, generator=torch.manual_seed(0))
    found = by_rarity(k_means(vectors, 3, seed=1), vectors)
    assert torch.allclose(found, centres[[1, 2, 0]], atol=0.2)
    assert nearest(vectors, found).bincount().tolist() == [5, 20, 50]


def test_fewer_vectors_than_centres_are_no_error():
    assert k_means(torch.randn(3, 2), 8, seed=0).shape == (8, 2)


def test_the_stage_learns_and_goes_on_where_it_was(tmp_path: Path, train: Corpus, held_out: Corpus):
    def run(plan: Plan) -> bool:
        return stage.train(tmp_path, SMOKE.codec, train, held_out, plan, CPU, silent_progress())

    assert not run(replace(PLAN, most_steps=1))
    numbers = load(tmp_path / "codec-learn.pt")["numbers"]
    assert numbers[0] == 1
    assert not run(replace(PLAN, most_steps=3))
    assert load(tmp_path / "codec-learn.pt")["numbers"][0] == 4
    assert run(PLAN)
    learned, tuned = (load(tmp_path / f"codec-{part}.pt") for part in ("learn", "tune"))
    assert learned["numbers"][1] >= 60 * PLAN.minutes * 0.65
    # The encoder and its codes are those that the codebooks were fitted to.
    for name, weight in learned["model"].items():
        if "encoder" in name:
            best = load(tmp_path / "codec-learn.best.pt")["model"][name]
            assert tuned["model"][name].equal(best)
            assert tuned["model"][name].shape == weight.shape
    saved = MimiModel.from_pretrained(tmp_path / "codec")
    assert saved.config.num_quantizers == SMOKE.codec.books


def test_the_loss_falls(train: Corpus, held_out: Corpus):
    torch.manual_seed(0)
    model = stage.LearningCodec(SMOKE.codec)
    model.settle(0.1 * torch.randn(2, 6 * 1_920))
    task = stage.CodecTask(model, SMOKE.codec, train, held_out, seed=0)
    before = task.held_out(model)["loss"]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(30):
        loss, _ = task.loss(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert task.held_out(model)["loss"] < 0.9 * before


def test_the_first_code_learns_from_phonemes_alone(train: Corpus, held_out: Corpus):
    model = stage.LearningCodec(SMOKE.codec).train()
    audio = 0.1 * torch.randn(2, 6 * 1_920)
    model.settle(audio)
    model(audio).audio.square().sum().backward()
    assert model.semantic.input_proj.weight.grad is None
    assert model.acoustic.input_proj.weight.grad is not None
    model(audio).phones.square().sum().backward()
    assert model.semantic.input_proj.weight.grad is not None


def test_as_products_of_matrices_the_convolutions_give_the_same(train: Corpus):
    torch.manual_seed(0)
    model = stage.LearningCodec(SMOKE.codec).double()
    audio = 0.1 * torch.randn(2, 6 * 1_920, dtype=torch.float64)

    def sound_and_slopes() -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(1)
        model.zero_grad()
        coded = model(audio)
        (coded.audio.square().sum() + coded.phones.square().sum()).backward()
        slopes = [one.grad for one in model.parameters() if one.grad is not None]
        return coded.audio.detach(), slopes

    (sound, slopes), _ = sound_and_slopes(), use_products(model.mimi)
    again, slopes_again = sound_and_slopes()
    assert torch.allclose(again, sound, atol=1e-9)
    for one, other in zip(slopes, slopes_again, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-9)
    # A copy, such as the average of the weights, computes with weights of its own.
    copied = deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert copied(audio).audio.abs().sum() > 0


def test_settling_brings_every_stage_to_its_level():
    torch.manual_seed(3)
    model = stage.LearningCodec(SMOKE.codec).eval()
    audio = 0.1 * torch.randn(2, 6 * 1_920)
    model.settle(audio)
    with torch.no_grad():
        assert all(0.5 < latents.std() < 2 for latents in model.latents(audio))
        assert 0.05 < model(audio).audio.std() < 0.2


def test_codes_of_a_batch_are_those_of_each_sound_alone(codec: MimiModel):
    rng = np.random.default_rng(0)
    sounds = [rng.normal(0, 0.1, length).astype(np.float32) for length in (4_000, 9_600, 1_920)]
    together = codes.encode(codec, sounds)
    assert [len(one) for one in together] == [3, 5, 1]
    for sound, found in zip(sounds, together, strict=True):
        whole = torch.from_numpy(np.pad(sound, (0, -len(sound) % 1_920)))
        alone = codec.encode(whole[None, None]).audio_codes
        assert alone is not None
        assert found.tolist() == alone[0].T.tolist()
    assert len({tuple(row) for one in together for row in one}) > 3


def test_every_shift_is_a_rendering_and_what_is_encoded_stays(
    tmp_path: Path, data: Path, train: Corpus, codec: MimiModel
):
    def make() -> None:
        codes.make(tmp_path, train, codec, paces=(1.0, 1.0), seed=0, progress=silent_progress())

    make()
    files = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    make()
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    found = codes.read(data, tmp_path, "train")
    assert [one for one, _ in found] == list(train.utterances)
    one, (first, second) = found[0]
    assert first.shift_ms != second.shift_ms
    for rendering in (first, second):
        shifted = np.pad(train.audio(one), (round(24 * rendering.shift_ms), 0))
        assert rendering.codes.tolist() == codes.encode(codec, [shifted])[0].tolist()


def test_played_faster_it_is_another_voice_and_sooner_over(
    tmp_path: Path, data: Path, train: Corpus, codec: MimiModel
):
    paces = (1.0, 0.94, 1.07)
    codes.make(tmp_path, train, codec, paces=paces, seed=0, progress=silent_progress())
    usual, slow, fast = codes.read(data, tmp_path, "train")[:3]
    assert slow[0].voice == f"{usual[0].voice} at 0.94"
    assert fast[0].voice == f"{usual[0].voice} at 1.07"
    assert fast[0].text == usual[0].text
    assert fast[0].words_ms[-1][1] == pytest.approx(usual[0].words_ms[-1][1] / 1.07, abs=1)
    sound = train.audio(usual[0])
    for (_, [rendering]), pace in ((slow, 0.94), (fast, 1.07)):
        there = codes.played(sound, pace)
        assert len(there) == pytest.approx(len(sound) / pace, abs=1)
        shifted = np.pad(there, (round(24 * rendering.shift_ms), 0))
        assert rendering.codes.tolist() == codes.encode(codec, [shifted])[0].tolist()
