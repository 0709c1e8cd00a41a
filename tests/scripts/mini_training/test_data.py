"""What is said, and that it is kept."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from agent.embedded.phonemes import VOCABULARY, PhonemeWord
from agent.persona import load_personas
from scripts.mini_training.codec.phones import IGNORED, PHONES, phone_labels
from scripts.mini_training.data.corpus import Corpus, Utterance
from scripts.mini_training.data.grammar import Grammar, parse
from scripts.mini_training.data.open_text import LexiconSentences, TextSentences, frequent_words
from scripts.mini_training.data.speaking import laid_out, word_times
from scripts.mini_training.data.splits import SPLITS, is_held_out, sentence_of
from scripts.mini_training.data.voices import TRAINED, UNSEEN, voice_named
from scripts.mini_training.errors import TrainingError
from tests.scripts.mini_training.conftest import Beeper, make_corpus


def test_the_closed_vocabulary_is_of_the_size_that_was_meant():
    assert 120 <= len(Grammar.closed().vocabulary) <= 250


def test_sentences_hold_no_word_that_is_not_in_the_vocabulary():
    grammar, rng = Grammar.closed(), random.Random(0)
    for _ in range(300):
        words = re.findall(r"[a-z']+", grammar.sentence(rng).lower())
        assert set(words) <= grammar.vocabulary


def test_what_the_shipped_personas_greet_with_is_in_it():
    vocabulary = Grammar.closed().vocabulary
    for persona in load_personas().values():
        said = f"{persona.greeting} {persona.apology}".lower()
        assert set(re.findall(r"[a-z']+", said)) <= vocabulary, persona.name


def test_a_rule_that_names_no_rule_is_refused():
    with pytest.raises(ValueError, match="'verb'"):
        Grammar(parse("sentence = I <verb>"))


def test_nearly_every_sentence_is_new():
    grammar, rng = Grammar.closed(), random.Random(0)
    assert len({grammar.sentence(rng) for _ in range(1_000)}) > 700


def test_no_held_out_sentence_is_ever_learned():
    grammar, rng = Grammar.closed(), random.Random(0)
    train, held_out, _ = (
        {sentence_of(grammar, split, rng).lower() for _ in range(400)} for split in SPLITS
    )
    assert not train & held_out
    assert is_held_out("Yes.") == is_held_out("yes!")


def test_unseen_voices_are_not_among_the_learned_ones():
    names = [voice.name for voice in (*TRAINED, *UNSEEN)]
    assert len(set(names)) == len(names) == len(TRAINED) + 4 >= 16
    assert voice_named(names[-1]) == UNSEEN[-1]


def test_shards_hold_what_the_seed_says_and_come_back_as_they_were(data: Path):
    train = Corpus(data, "train")
    line = train.utterances[0]
    take = Beeper().read(line.text, voice_named(line.voice), line.speed)
    assert line.samples == len(take.audio)
    assert line.words_ms == take.words_ms
    assert np.corrcoef(train.audio(line), take.audio)[0, 1] > 0.98
    assert {one.voice for one in Corpus(data, "voices").utterances} <= {v.name for v in UNSEEN}


def test_what_was_interrupted_goes_on_and_what_is_done_is_left_alone(tmp_path: Path):
    first, second = Beeper(), Beeper()
    make_corpus(tmp_path, reader=first)  # no time for more than what is held out
    assert first.read_lines == 48
    (tmp_path / "voices-00000.jsonl").unlink()  # as if it had been killed there
    make_corpus(tmp_path, reader=second)
    assert second.read_lines == 24
    with pytest.raises(TrainingError, match="data stage"):
        Corpus(tmp_path, "train")


def spent_minutes(folder: Path) -> float:
    return json.loads((folder / "spent.json").read_text())["seconds"] / 60


def test_however_short_the_time_there_is_something_to_learn_from(tmp_path: Path):
    make_corpus(tmp_path, minutes=1e-9)  # over before the first of what is held out is spoken
    assert len(Corpus(tmp_path, "train").utterances) == 24


def test_minutes_are_those_of_all_runs(tmp_path: Path):
    make_corpus(tmp_path, minutes=1e-9)
    again, longer = Beeper(), Beeper()
    make_corpus(tmp_path, reader=again, minutes=1e-9)
    assert again.read_lines == 0
    make_corpus(tmp_path, reader=longer, minutes=1e-3 + spent_minutes(tmp_path))
    assert longer.read_lines >= 24


def test_words_begin_and_end_with_their_phonemes():
    words = [PhonemeWord("Hi,", "hˈI,"), PhonemeWord("-", ""), PhonemeWord("you.", "ju.")]
    symbols, owners = laid_out(words)
    assert symbols == "hˈI, ju."
    ends_ms = np.array([50, 100, 110, 200, 300, 310, 350, 400, 600])
    assert word_times(owners, ends_ms, 3) == ((50, 200), (200, 200), (310, 400))


def test_phonemes_are_asked_for_where_they_have_been_heard():
    # Silence to 40 ms, "h" to 80, stressed "I:" to 160, a blank to 200, "z" to 240, then a stop.
    one = Utterance("", "", 1, 0, 0, 0, "hˈIː z.", (80, 90, 120, 160, 200, 240, 300), ((40, 300),))
    h, i, z = (PHONES.index(symbol) for symbol in "hIz")
    labels = phone_labels(one, 0.0, 4)
    # Points lie at -10, 10, 30, 50 ms, and so on every 20 ms.
    assert labels[0].tolist() == [0, 0, 0, h]
    assert labels[1].tolist() == [h, i, i, i]
    assert labels[2].tolist() == [i, IGNORED, IGNORED, z]
    assert labels[3].tolist() == [z, 0, 0, 0]
    assert (phone_labels(one, -80.0, 5)[1:] == labels).all()


def test_every_sound_of_kokoros_english_is_a_class():
    assert set(PHONES[1:]) == {symbol for symbol in VOCABULARY if symbol.isalpha()} - {
        "ˈ",
        "ˌ",
        "ː",
    }


def test_the_open_vocabulary_is_of_frequent_words_that_can_be_pronounced():
    words = frequent_words()
    assert len(words) > 10_000
    assert {"water", "morning"} <= set(words[:3_000])
    source, rng = LexiconSentences.installed(), random.Random(0)
    assert len({source.sentence(rng) for _ in range(200)}) == 200


def test_a_text_gives_its_plain_sentences():
    book = "Chapter 1. It was\nlate, she said. " + " ".join(
        f"This is line {'a' * n}." for n in range(1, 120)
    )
    found = TextSentences(book).sentences
    assert "It was late, she said." in found
    assert not any("Chapter" in one for one in found)
    with pytest.raises(TrainingError, match="at least 100"):
        TextSentences("Too short.")
