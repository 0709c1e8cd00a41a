"""A small Mimi that learns, is quantised, and codes as transformers does."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MimiModel

from scripts.mini_training.codec import codes, in_step, stage
from scripts.mini_training.codec.books import (
    by_rarity,
    fit_side,
    k_means,
    k_means_of_kinds,
    nearest,
)
from scripts.mini_training.codec.losses import PhaseLoss, SpectralLoss
from scripts.mini_training.codec.model import mimi_config, with_cycles
from scripts.mini_training.codec.products import use_products
from scripts.mini_training.codec.quantising import fix, loosen, quantised, table_of
from scripts.mini_training.data.corpus import Corpus
from scripts.mini_training.learning import Plan, load, save
from tests.scripts.mini_training.conftest import SMOKE, silent_progress

PLAN = Plan(minutes=0.06, rate=0.0, check_s=1e9)
CPU = torch.device("cpu")
PARTS = ("learn", "join", "tune", "adversary")


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
    learned, joined, tuned, against = (load(tmp_path / f"codec-{part}.pt") for part in PARTS)
    assert learned["numbers"][1] >= 60 * PLAN.minutes * 0.45
    assert joined["numbers"][0] > 0 < tuned["numbers"][0]
    assert against["numbers"][0] > 0 < len(against["companion"]["optimizer"]["state"])
    # With codes the encoder learns on; once they are fixed neither it nor they change.
    fixed = load(tmp_path / "codec-codes.pt")["model"]
    best = load(tmp_path / "codec-learn.best.pt")["model"]
    of_codes = [name for name in fixed if ".encoder" in name or "codebook" in name]
    assert all(tuned["model"][name].equal(fixed[name]) for name in of_codes)
    assert not all(best[name].equal(fixed[name]) for name in of_codes if ".encoder" in name)
    assert not tuned["model"]["mimi.decoder.upsample.conv.weight"].equal(
        fixed["mimi.decoder.upsample.conv.weight"]
    )
    assert all(against["model"][name].equal(fixed[name]) for name in of_codes)
    saved = MimiModel.from_pretrained(tmp_path / "codec")
    assert saved.config.num_quantizers == SMOKE.codec.books


def test_a_codec_that_was_adopted_is_tuned_for_all_of_the_time(
    tmp_path: Path, train: Corpus, held_out: Corpus
):
    save({"model": stage.LearningCodec(SMOKE.codec).state_dict()}, tmp_path / "codec-codes.pt")
    size = replace(SMOKE.codec, against=0.0)
    assert stage.train(tmp_path, size, train, held_out, PLAN, CPU, silent_progress())
    assert load(tmp_path / "codec-tune.pt")["numbers"][1] >= 60 * PLAN.minutes


def test_phases_count_where_magnitudes_are_the_same():
    time_s = torch.arange(24_000) / 24_000
    sound, turned = (0.1 * (2 * np.pi * 200 * time_s + by).sin()[None] for by in (0, np.pi / 2))
    spectral, phase = SpectralLoss(), PhaseLoss()
    assert phase(sound, sound).item() == 0
    assert phase(0 * sound, sound) == pytest.approx(1, abs=0.1)
    assert phase(turned, sound) > 1.2
    assert spectral(turned, sound) < 0.1 * spectral(0 * sound, sound)
    high = 0.1 * (2 * np.pi * 5_000 * time_s).sin()[None]
    assert phase(sound + high, sound) < 0.1


def test_the_loss_falls(train: Corpus, held_out: Corpus):
    torch.manual_seed(0)
    model = stage.LearningCodec(SMOKE.codec)
    model.settle(0.1 * torch.randn(2, 6 * 1_920))
    both = (in_step.make(one, (1.0,), silent_progress(), processes=1) for one in (train, held_out))
    task = stage.CodecTask(model, SMOKE.codec, *both, seed=0)
    before = task.held_out(model)["loss"]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(30):
        loss, _ = task.loss(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert task.held_out(model)["loss"] < 0.9 * before


def test_codes_follow_what_they_stand_for_and_end_with_the_rarest_first(codec: MimiModel):
    side = deepcopy(codec.quantizer).acoustic_residual_vector_quantizer
    book = side.layers[0].codebook
    loosen(side)
    before = table_of(book).clone()
    torch.manual_seed(0)
    latents = before[torch.tensor([3, 3, 3, 5])].T[None] + 0.01
    for _ in range(300):
        quantised(side, latents, learning=True)
    moved = (table_of(book) - before).abs().amax(dim=1)
    assert (moved > 1e-4).nonzero().flatten().tolist() == [3, 5]
    assert table_of(book)[3].allclose(before[3] + 0.01, atol=1e-3)
    unmoved = table_of(book).clone()
    quantised(side, latents + 1, learning=False)
    assert table_of(book).equal(unmoved)
    fix(side)
    assert torch.allclose(table_of(book)[-1], unmoved[3], atol=1e-2)  # the most frequent
    assert table_of(book).equal(table_of(book).half().float())


def test_what_the_codebooks_make_is_what_transformers_makes_of_the_codes(codec: MimiModel):
    side: Any = codec.quantizer.acoustic_residual_vector_quantizer
    latents = torch.randn(2, SMOKE.codec.bottleneck, 5)
    found = side.output_proj(quantised(side, latents, learning=False))
    codes = torch.stack(_codes(side, latents), dim=1)
    assert torch.allclose(found, side.decode(codes), atol=1e-5)


def _codes(side: Any, latents: torch.Tensor) -> list[torch.Tensor]:
    left, found = latents, []
    for layer in side.layers:
        found.append(layer.encode(left))
        left = left - layer.decode(found[-1])
    return found


def test_the_first_code_learns_from_phonemes_alone(train: Corpus, held_out: Corpus):
    model = stage.LearningCodec(SMOKE.codec).train()
    audio = 0.1 * torch.randn(2, 6 * 1_920)
    model.settle(audio)
    model(audio).audio.square().sum().backward()
    assert model.semantic.input_proj.weight.grad is None
    assert model.acoustic.input_proj.weight.grad is not None
    model(audio).phones.square().sum().backward()
    assert model.semantic.input_proj.weight.grad is not None


def test_a_decoder_that_learns_is_told_the_true_cycles_and_one_that_speaks_the_likeliest():
    torch.manual_seed(0)
    model = stage.LearningCodec(SMOKE.codec).eval()
    audio = 0.1 * torch.randn(1, 6 * 1_920)
    heard = model(audio)
    likeliest = heard.cycles.argmax(dim=-1)
    assert model(audio, likeliest).audio.equal(heard.audio)
    told = model(audio, (likeliest + 1) % 36)
    assert not told.audio.allclose(heard.audio)
    assert told.cycles.equal(heard.cycles)  # what it hears is judged, whatever it was told


def test_no_code_of_the_first_acoustic_book_stands_for_two_pitches():
    torch.manual_seed(0)
    cycles = torch.randint(8, 14, (400,))
    cycles[0] = 20  # once only
    colours = torch.randn(400, SMOKE.codec.bottleneck)
    vectors = with_cycles(colours.T[None], cycles[None])[0].T
    side: Any = MimiModel(mimi_config(SMOKE.codec)).quantizer.acoustic_residual_vector_quantizer
    fit_side(side, vectors, 0, lambda book, left: None, cycles)
    first, *others = (table_of(layer.codebook) for layer in side.layers)
    assert len(first) == 16
    assert set(first[:, :36].argmax(dim=1).tolist()) == {*range(8, 14), 20}
    assert (first[:, :36] != 0).sum(dim=1).eq(1).all()
    assert all(not book[:, :36].any() for book in others)
    # More pitches than codes: the rarest have none.
    few = k_means_of_kinds(vectors, cycles, 5, seed=0)
    assert len(few) == 5


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
