"""English text becomes the symbols Kokoro knows, token by token, whatever the text."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.embedded.phonemes import VOCABULARY, Accent, Phonemizer

PHONEMIZER = Phonemizer()


def said(text: str, accent: Accent = "american") -> str:
    return " ".join(word.phonemes for word in PHONEMIZER.words(text, accent))


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("Hello world.", "hɛlˈO wˈɜɹld."),
        ("They choose a joyful hour.", "ðˈA ʧˈuz ɐ ʤˈYfᵊl ˈWəɹ."),
        ("I find", "ˌI fˈInd"),
        ("better little button", "bˈɛTəɹ lˈɪTᵊl bˈʌtᵊn"),
    ],
)
def test_american_speech_uses_kokoros_symbols(text: str, phonemes: str):
    assert said(text) == phonemes


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("The car park.", "ðə kˈɑː pˈɑːk."),
        ("far away", "fˈɑɹ əwˈA"),
        ("We can't dance after class", "wi kˈɑːnt dˈɑːns ˈɑːftə klˈɑːs"),
        ("hot coffee, no water", "hˈɒt kˈɒfi, nˈQ wˈɔːtə"),
        ("nurse", "nˈɜːs"),
    ],
)
def test_british_speech_drops_r_and_lengthens_vowels(text: str, phonemes: str):
    assert said(text, "british") == phonemes


def test_a_word_is_pronounced_by_its_part_of_speech():
    assert said("I want to record a record.") == "ˌI wˈɔnt tə ɹɪkˈɔɹd ɐ ɹˈɛkəɹd."


def test_articles_and_to_fit_the_vowel_that_follows():
    assert said("the apple, the pear") == "ði ˈæpᵊl, ðə pˈɛɹ"
    assert said("to eat, to drink") == "tʊ ˈit, tə dɹˈɪŋk"


def test_small_words_are_weak_within_a_clause_and_stressed_at_its_end():
    assert said("for me it is.").split() == ["fɔɹ", "mi", "ɪt", "ˈɪz."]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("42", "forty two"),
        ("1,234", "one thousand two hundred and thirty four"),
        ("3.14", "three point one four"),
        ("1999", "nineteen ninety nine"),
        ("the 1990s", "the nineteen nineties"),
        ("3rd", "third"),
        ("10:05", "ten oh five"),
        ("9:00", "nine o'clock"),
        ("$5", "five dollars"),
        ("50%", "fifty percent"),
        ("007", "zero zero seven"),
        ("Dr. Who & co", "doctor who and co"),
        ("well-known", "well known"),
        ("naïve café", "naive cafe"),
        ("it’s", "it's"),
    ],
)
def test_what_is_written_short_is_said_in_full(written: str, spoken: str):
    assert said(written).replace(" ", "") == said(spoken).replace(" ", "")


@pytest.mark.parametrize("written", ["CPU", "U.S.A.", "csm", "TTS"])
def test_initials_are_spelled(written: str):
    letters = [letter for letter in written.upper() if letter.isalpha()]
    assert said(written).replace(".", "") == " ".join(said(f"{x}.{x}.").split()[0] for x in letters)


def test_unknown_words_are_guessed():
    assert said("blorptastic") == "blˌɔɹptˈæstɪk"


def test_every_token_keeps_its_place_and_what_cannot_be_said_is_silent():
    text = "Hi 😀 日本 \0 there — ok"
    words = PHONEMIZER.words(text)
    assert [word.text for word in words] == text.split()
    assert [word.text for word in words if not word.phonemes] == ["😀", "日本", "\0"]


def test_punctuation_is_kept():
    assert said('Well... (yes), "no"!') == 'wˈɛl… (jˈɛs), "nˈO"!'


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80), st.sampled_from(["american", "british"]))
def test_any_text_gives_only_symbols_of_the_vocabulary(text: str, accent: Accent):
    words = PHONEMIZER.words(text, accent)
    assert [word.text for word in words] == text.split()
    assert all(symbol in VOCABULARY for word in words for symbol in word.phonemes)


def test_a_number_without_end_is_read_digit_by_digit():
    assert said("9" * 1000).count("nˈIn") == 1000


def test_threads_share_one_phonemizer():
    fresh = Phonemizer()
    texts = [f"This is sentence {n}, and it was read by a thread." for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fresh.words, texts))
    assert together == [PHONEMIZER.words(text) for text in texts]
