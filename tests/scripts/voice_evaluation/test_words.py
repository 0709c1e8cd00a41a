"""What counts as misheard, and what is only written in another way."""

import numpy as np
import pytest

from scripts.voice_evaluation.words import Listener, compare
from tests.recordings import noise, silence, spoken


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Twenty-five guests, please!", "25 guests please"),
        ("It costs about $80.", "It costs about 80 dollars"),
        ("My favourite colour.", "my favorite color"),
        ("I'd like that; let's go.", "I would like that. Let us go."),
        ("In 1995, Dr. Who", "in nineteen ninety five doctor who"),
        ("It is 100% done", "it is one hundred percent done"),
    ],
)
def test_what_sounds_the_same_is_the_same(said: str, heard: str):
    assert compare(said, heard).errors == 0


def test_words_that_are_wrong_missing_or_added_count():
    compared = compare("The tent is 80 dollars.", "A tent is so 80")
    assert compared.errors == 3
    assert compared.error_rate == pytest.approx(3 / 4), "$80 is one word"


def test_nothing_heard_is_every_word_missing():
    assert compare("Light the candles.", "").error_rate == 1


@pytest.fixture(scope="module")
def listener():
    listener = Listener("tiny.en")
    yield listener
    listener.close()


def test_whisper_hears_a_recording(listener: Listener):
    from scripts.voice_evaluation.judges import for_judges

    audio, words = spoken("ada")
    heard = listener.hear(for_judges(audio))
    assert compare(words, heard).error_rate <= 0.1


@pytest.mark.parametrize("audio", [silence(0), silence(2), noise(2)])
def test_where_nobody_speaks_there_are_no_words(listener: Listener, audio: np.ndarray):
    assert listener.hear(audio) == ""
