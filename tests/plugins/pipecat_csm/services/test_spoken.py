"""Numbers, abbreviations and symbols take as long as the words that are said for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat_csm.services.sounds import SOUNDS, sounds
from pipecat_csm.services.spoken import is_abbreviation, spoken, words_awaited


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("Hello,", "hello"),
        ("don’t", "dont"),
        ("well-known", "well known"),
        ("Ñandú!", "nandu"),
        ("$12.50,", "twelve dollars fifty"),
        ("£3.00", "three pounds"),
        ("7.5%", "seven point five percent"),
        ("4,300,000", "four million three hundred thousand"),
        ("1987.", "nineteen eighty seven"),
        ("2005", "two thousand five"),
        ("1990s", "nineteen ninetys"),
        ("13th", "thirteenth"),
        ("3:45", "three forty five"),
        ("2:00", "two o'clock"),
        ("10:05", "ten oh five"),
        ("3pm", "three pee em"),
        ("5km", "five kilometers"),
        ("0049", "zero zero four nine"),
        ("3.14", "three point one four"),
        ("٣", "three"),
        ("Dr.", "doctor"),
        ("e.g.,", "for example"),
        ("U.S.", "yoo ess"),
        ("(USA)", "yoo ess ay"),
        ("NASA", "nasa"),
        ("HTML", "aitch tee em el"),
        ("AT&T", "ay tee and tee"),
        ("a.b@c.de", "a dot bee at see dot de"),
        ("99999999999999999999", " ".join(["nine"] * 20)),
        ("—", ""),
        ("👍🏽", ""),
        ("...", ""),
    ],
)
def test_what_is_said_for_a_token(token: str, said: str):
    assert spoken(token) == said


@pytest.mark.parametrize("token", ["Dr.", "(e.g.,", "U.S.", "a.m.", "“Mr."])
def test_an_abbreviation_keeps_its_full_stop(token: str):
    assert is_abbreviation(token)


@pytest.mark.parametrize("token", ["end.", "Dr", "...", "3.5", "you?"])
def test_other_words_have_none(token: str):
    assert not is_abbreviation(token)


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("made", "nAb"),  # a silent e makes the vowel long
        ("thought", "fAp"),
        ("knife", "nAf"),
        ("question", "plessen"),
        ("boxes", "bepsez"),
        ("walked", "lelpb"),
        ("wanted", "lenpeb"),
        ("a", "A"),
        ("hmm", "fn"),
        ("你好", "bebe"),
    ],
)
def test_the_sounds_of_a_word(word: str, kinds: str):
    assert sounds(word) == kinds


@given(st.text(max_size=20) | st.from_regex(r"[$€]?[\d,.:]{1,8}(?:st|%|km)?", fullmatch=True))
def test_any_token_has_sounds_if_something_is_said(token: str):
    for word in spoken(token).split():
        assert set(sounds(word)) <= set(SOUNDS)
        assert sounds(word) or not any(char.isalpha() for char in word)


@pytest.mark.parametrize(
    ("sentence", "awaited"),
    [
        ("It goes on.", 3),
        ("It goes on ...", 4),
        ("Why not ? !", 4),
        ("It costs 5 €", 3),
        ("It costs 5 € .", 3),
        ("Yes ! →", 2),
        ("→ there", 2),
        ("...", 1),
    ],
)
def test_pipecat_waits_for_marks_that_stand_alone_and_not_for_symbols(sentence: str, awaited: int):
    assert words_awaited(sentence) == awaited
