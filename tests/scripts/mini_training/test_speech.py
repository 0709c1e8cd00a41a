"""Conversations as the live engine would feed them, and a small CSM that learns from them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pipecat_csm import Segment
from pipecat_csm.model.prompt import concat, segment_frames
from transformers import MimiModel

from scripts.mini_training.codec import codes
from scripts.mini_training.codec.codes import Rendering
from scripts.mini_training.data.corpus import Corpus, Utterance
from scripts.mini_training.learning import Plan, load
from scripts.mini_training.speech import stage
from scripts.mini_training.speech.alignment import letters_spoken
from scripts.mini_training.speech.batch import Batches, filled_up, lay_out, rows_of
from scripts.mini_training.speech.dialogues import Dialogues, Turn, joined
from scripts.mini_training.speech.losses import losses, wrong_codes
from scripts.mini_training.speech.model import LearningSpeech, csm_config, dimensions
from scripts.mini_training.speech.tokenizer import END_ID, WORDS, letters, words
from tests.scripts.mini_training.conftest import SMOKE, silent_progress

Coded = list[tuple[Utterance, list[Rendering]]]


@pytest.fixture(scope="module")
def coded(
    tmp_path_factory: pytest.TempPathFactory, data: Path, train: Corpus, codec: MimiModel
) -> Coded:
    folder = tmp_path_factory.mktemp("codes")
    codes.make(folder, train, codec, paces=(1.0,), seed=0, progress=silent_progress())
    return codes.read(data, folder, "train")


@pytest.fixture
def model(codec: MimiModel) -> LearningSpeech:
    torch.manual_seed(0)
    return LearningSpeech(csm_config(SMOKE.speech, codec.config), dropout=0.1)


def conversation(coded: Coded, *speakers: int) -> list[Turn]:
    return [
        Turn(speaker, *(one, renderings[0]))
        for speaker, (one, renderings) in zip(speakers, coded, strict=False)
    ]


def test_a_word_is_a_token_and_others_are_spelled():
    def tokens(text: str) -> list[str]:  # words with the blank before them
        found = words().encode(text, add_special_tokens=False).tokens
        return [one.strip() or one for one in found]

    assert tokens("[0]Hello, my name is Ada.") == [
        "[",
        "0",
        "]",
        *["hello", ",", "my", "name", "is", "ada", "."],
    ]
    assert tokens("two thymes") == ["two", " ", *"thymes"]
    assert words().encode("HELLO").ids == words().encode("hello").ids
    assert len(words().encode("é", add_special_tokens=False).ids) == 1
    assert len(WORDS) >= 100


def test_spelled_it_has_the_same_letters():
    assert len(letters().encode("[0]Hi, Ada!", add_special_tokens=False).ids) == 11
    assert letters().encode("a thyme").ids == words().encode("a thyme").ids


def test_rows_are_those_that_the_live_engine_feeds(coded: Coded, model: LearningSpeech):
    config, tokenizer = dimensions(model.csm.config), words()
    turns = conversation(coded, 0, 1, 0)
    line = lay_out(tokenizer, config, turns)
    wanted = concat(
        segment_frames(
            tokenizer,
            config,
            Segment(
                turn.utterance.text,
                turn.speaker,
                codes=torch.from_numpy(turn.rendering.codes.astype(np.int64)),
            ),
        )
        for turn in turns
    )
    assert line.tokens.equal(wanted.tokens)
    assert line.mask.equal(wanted.mask)


def test_rows_are_counted_before_they_are_made(coded: Coded, model: LearningSpeech):
    turns = conversation(coded, 0, 7, 0)
    assert rows_of(words(), turns) == len(
        lay_out(words(), dimensions(model.csm.config), turns).looks
    )


def test_what_is_predicted_is_every_frame_and_its_end(coded: Coded, model: LearningSpeech):
    turns = conversation(coded, 3, 4)
    line = lay_out(words(), dimensions(model.csm.config), turns)
    predicts = filled_up([line]).predicts[0]
    sound = line.mask[:, 0]
    assert predicts[:-1].equal(sound[1:])
    assert int(predicts.sum()) == sum(len(turn.rendering.codes) + 1 for turn in turns)


def test_a_frame_looks_at_what_is_spoken_in_it(model: LearningSpeech):
    # "no" from 80 to 240 ms, "yes" from 240 to 480, after 80 ms of silence that was put before.
    one = Utterance("no yes", "", 1, 0, 0, 0, "", (), ((80, 240), (240, 480)))
    assert letters_spoken(one, 80.0, 8).tolist() == [0, 0, 0, 1, 3, 4, 5, 5]
    rendering = Rendering(np.ones((8, SMOKE.codec.books), np.uint16), 80.0)
    spelled = [*"nnnoyess"], letters()
    for spoken, tokenizer in (spelled, (["no"] * 4 + ["yes"] * 4, words())):
        line = lay_out(tokenizer, dimensions(model.csm.config), [Turn(0, one, rendering)])
        looked_at = line.tokens[line.looks[line.looks >= 0], -1].tolist()
        assert looked_at == [*map(tokenizer.token_to_id, spoken), END_ID]


def test_lines_are_filled_up_with_what_counts_nowhere(coded: Coded, model: LearningSpeech):
    config = dimensions(model.csm.config)
    lines = [lay_out(letters(), config, conversation(coded, *who)) for who in ((0,), (0, 1, 0))]
    batch = filled_up(lines)
    short = len(lines[0].looks)
    assert not batch.mask[0, short:].any()
    assert not batch.predicts[0, short:].any()
    model.eval()
    with torch.no_grad():
        together = losses(model, batch, depth_share=1.0)
        alone = [losses(model, filled_up([line]), depth_share=1.0) for line in lines]
    weights = [float(filled_up([line]).predicts.sum()) for line in lines]
    for name in ("first", "others"):
        mean = np.average([getattr(one, name) for one in alone], axis=0, weights=weights)
        assert getattr(together, name).numpy() == pytest.approx(mean, rel=1e-4)


def test_a_voice_comes_back_under_the_same_number_and_numbers_say_nothing(coded: Coded):
    dialogues, rng = Dialogues(coded), np.random.default_rng(0)
    numbers_of: dict[str, set[int]] = {}
    lengths = []
    for _ in range(300):
        turns = dialogues.draw(rng)
        lengths.append(len(turns))
        pairs = {(turn.speaker, turn.utterance.voice) for turn in turns}
        assert len({speaker for speaker, _ in pairs}) == len(pairs) <= 2
        for speaker, voice in pairs:
            numbers_of.setdefault(voice, set()).add(speaker)
    assert all(len(numbers) > 2 for numbers in numbers_of.values())
    assert {1, 2, 3, 4, 5} <= set(lengths)
    assert max(lengths) > 5


def test_sentences_may_be_joined_and_each_word_is_where_it_was():
    def turn(
        text: str, words_ms: tuple[tuple[int, int], ...], frames: int, shift_ms: float
    ) -> Turn:
        one = Utterance(text, "a", 1.0, 0, 0, 0, "", (), words_ms)
        return Turn(3, one, Rendering(np.ones((frames, 2), np.uint16), shift_ms))

    first = turn("Yes.", ((0, 160),), 4, 80.0)
    second = turn("An old dog.", ((0, 80), (80, 240), (240, 480)), 7, 0.0)
    both = joined(first, second)
    assert (both.speaker, both.utterance.text) == (3, "Yes. An old dog.")
    assert len(both.rendering.codes) == 11
    looks = letters_spoken(both.utterance, both.rendering.shift_ms, 11).tolist()
    alone = letters_spoken(second.utterance, 0.0, 7)
    assert looks[:3] == letters_spoken(first.utterance, 80.0, 4).tolist()[:3]
    assert looks[4:] == (alone + len("Yes. ")).tolist()
    assert rows_of(letters(), [both]) == len("[3]Yes. An old dog.") + 11 + 3


def test_noise_spares_texts_and_ends(coded: Coded, model: LearningSpeech):
    batches = Batches(Dialogues(coded), words(), dimensions(model.csm.config), 2_000, 0.5)
    batch = batches.draw(np.random.default_rng(0))
    assert batch.looks.numel() <= 2_000
    noisy = wrong_codes(batch, SMOKE.codec.book_size)
    assert noisy[..., -1].equal(batch.tokens[..., -1])
    changed = (noisy != batch.tokens).any(dim=-1)
    sounding = batch.mask[..., 0] & (batch.tokens[..., :-1] != 0).any(dim=-1)
    assert not changed[~sounding].any()
    assert 0.1 < changed[sounding].float().mean() < 0.5


def test_some_conversations_are_written_in_letters_alone(coded: Coded, model: LearningSpeech):
    batches = Batches(Dialogues(coded), words(), dimensions(model.csm.config), 2_000, 0.5)
    drawn = [batches.draw(np.random.default_rng(number)) for number in range(4)]
    known = words().token_to_id(WORDS[0])
    assert known is not None
    spelled = [bool((line[:, -1] < known).all()) for batch in drawn for line in batch.tokens]
    assert set(spelled) == {False, True}


def test_the_rows_are_read_as_transformers_reads_them(coded: Coded, model: LearningSpeech):
    batch = filled_up([lay_out(letters(), dimensions(model.csm.config), conversation(coded, 0))])
    rows = model.embed(batch.tokens, batch.mask)[0]
    sound = batch.mask[0, :, 0]
    audio = model.csm.backbone_model.embed_tokens(batch.tokens[:, sound, :-1])[0]
    text = model.csm.embed_text_tokens(batch.tokens[0, ~sound, -1])
    assert torch.allclose(rows[sound], audio, atol=1e-6)
    assert torch.allclose(rows[~sound], text, atol=1e-6)


def test_the_loss_is_that_of_transformers(coded: Coded, model: LearningSpeech):
    model.eval()
    csm: Any = model.csm
    batch = filled_up([lay_out(letters(), dimensions(csm.config), conversation(coded, 0, 1))])
    labels = torch.where(batch.mask[..., :1], batch.tokens[..., :-1], -100)
    with torch.no_grad():
        ours = losses(model, batch, depth_share=1.0)
        theirs = csm(inputs_embeds=model.embed(batch.tokens, batch.mask), labels=labels)
    assert ours.first.item() == pytest.approx(theirs.backbone_loss.item(), rel=1e-5)
    assert ours.others.mean().item() == pytest.approx(theirs.depth_decoder_loss.item(), rel=1e-5)


def test_steps_lower_the_loss_and_teach_where_to_look(coded: Coded, model: LearningSpeech):
    task = stage.SpeechTask(model, SMOKE.speech, coded, coded, seed=0)
    before = task.held_out(model.eval())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for step in range(25):
        loss, _ = task.loss(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = task.held_out(model.eval())
    assert after["loss"] < 0.95 * before["loss"]
    assert after["end"] < before["end"]


def test_the_stage_goes_on_where_it_was_and_ends_with_the_best(
    tmp_path: Path, coded: Coded, codec: MimiModel
):
    plan = Plan(minutes=0.05, rate=0.0, check_s=1e9)

    def run(plan: Plan) -> bool:
        return stage.train(
            tmp_path,
            SMOKE.speech,
            codec.config,
            coded,
            coded,
            plan,
            torch.device("cpu"),
            silent_progress(),
        )

    assert not run(replace(plan, most_steps=2))
    assert load(tmp_path / "speech-learn.pt")["numbers"][0] == 2
    assert not (tmp_path / "speech.pt").exists()
    assert run(plan)
    best = load(tmp_path / "speech-learn.best.pt")["model"]
    for name, weight in load(tmp_path / "speech.pt")["model"].items():
        assert weight.equal(best[f"csm.{name}"])
