"""Texts become plain without losing a word, and part where a speaker would breathe."""

import re
import time
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pipecat_csm.errors import TextError
from pipecat_csm.text import MAX_PIECE_CHARS, MAX_TEXT_CHARS, normalise, split, spoken_chars

TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "aZ7 \n\t.,!?\"'()-–—―…“”‘’\u200b\u200d\u202e\0👋🏽❤\ufe0f\u0301\u0338\ufffd"
        ),
    ),
    max_size=60,
)
PROSE = st.lists(
    st.one_of(
        st.sampled_from(["the", "Dr.", "U.S.", "3.5", "I", "e.g.", "well,", "Stop!", "(so)", "-"]),
        st.text("abcXYZ019.,;:!?'\"()-é漢", min_size=1, max_size=40),
    ),
    min_size=1,
).map(" ".join)


def letters_and_digits(text: str) -> list[str]:
    return [c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] in "LN"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  one\n\ttwo \u2028 three\u00a0four  ", "one two three four"),
        ("“Don’t,” she said: ‘no’ «oui»", '"Don\'t," she said: \'no\' "oui"'),
        ("wait…", "wait..."),
        ("co‐op, twenty‑one, −5", "co-op, twenty-one, -5"),
        ("He said NO", "He said NO"),
        ("cafe\u0301", "café"),
        ("25°, №5, ½ of ©, ™", "25°, №5, ½ of ©, ™"),
        ("<b>5 < 6 & 7</b>", "<b>5 < 6 & 7</b>"),
    ],
)
def test_characters_become_plain(text: str, plain: str):
    assert normalise(text) == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Yes—no", "Yes, no"),
        ("Yes — no", "Yes, no"),
        ("yes – no", "yes, no"),
        ("She—who was late—left.", "She, who was late, left."),
        ("“Wait—” he said", '"Wait," he said'),
        ("He said—“no”", 'He said, "no"'),
        ("What?—No", "What? No"),
        ("Well—, no", "Well, no"),
        ("—Hello there—", "Hello there"),
        ("a – — b", "a, b"),
        ("1939–45, 3—5 and London–Paris", "1939-45, 3-5 and London-Paris"),
        ("It was –5 outside", "It was -5 outside"),
        ("run foo --help - now", "run foo --help - now"),
    ],
)
def test_a_dash_is_a_pause_or_a_hyphen(text: str, plain: str):
    assert normalise(text) == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Great 👍!", "Great!"),
        ("hi👋🏽there", "hi there"),
        ("👩\u200d👩\u200d👧 family 🇺🇸", "family"),
        ("1\ufe0f\u20e3 first ❤\ufe0f", "1 first"),
        ("He said “hi 👋”", 'He said "hi"'),
        ("(👍 ok)", "(ok)"),
        ("a\0b\x1b[0m\x7f", "ab[0m"),
        ("ab\u200b\u200e\u202ec\ufeffd\u00ad", "abcd"),
        ("x\ud800y\ue000z", "xyz"),
    ],
)
def test_what_cannot_be_spoken_goes(text: str, plain: str):
    assert normalise(text) == plain


@given(TEXTS)
@example("a\u2014\u0338 b")
def test_what_is_normal_stays_and_no_letter_or_digit_changes(text: str):
    try:
        plain = normalise(text)
    except TextError:
        assert not letters_and_digits(text)
        return
    assert normalise(plain) == plain
    assert letters_and_digits(plain) == letters_and_digits(text)
    assert unicodedata.is_normalized("NFC", plain)
    assert plain == " ".join(plain.split())
    plain.encode()  # no lone surrogate
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Co") for c in plain)


@pytest.mark.parametrize("text", ["", " \n", "?!…", "👋", "\0", "\u202e", "—", "***"])
def test_a_text_without_words_is_refused(text: str):
    with pytest.raises(TextError, match=r"^There is nothing to speak: [^.]+\.$"):
        normalise(text)


def test_a_text_may_be_long_but_not_without_end():
    assert len(normalise("a" * MAX_TEXT_CHARS)) == MAX_TEXT_CHARS
    assert normalise("a" + " " * MAX_TEXT_CHARS + "b") == "a b"
    for text in ("a" * (MAX_TEXT_CHARS + 1), "a" + "…" * (MAX_TEXT_CHARS - 1)):
        with pytest.raises(TextError, match=r"more than 20,000 characters; speak it in several"):
            normalise(text)


@pytest.mark.parametrize(
    "run", [".", "—", " –", "👍 ", "(", ") ", "1", "a, ", "'\" ", ". ", "e.g."]
)
def test_no_text_takes_long(run: str):
    text = "a" + run * ((MAX_TEXT_CHARS - 3) // len(run)) + " b"
    begun = time.perf_counter()
    split(normalise(text))
    assert time.perf_counter() - begun < 0.5


def test_a_short_text_is_one_piece():
    text = "Dr. Who came at 3.5 p.m. He left, too."
    assert split(text) == [text]


def test_a_long_text_parts_at_its_sentences():
    text = "It was late. Was it? Yes! She had gone home, and he had not."
    assert split(text, 35) == ["It was late. Was it? Yes!", "She had gone home, and he had not."]


def test_a_long_sentence_parts_at_its_clauses():
    text = "When the rain had stopped, they went outside; the road (still wet) was empty."
    assert split(text, 30) == [
        "When the rain had stopped,",
        "they went outside;",
        "the road (still wet)",
        "was empty.",
    ]


def test_a_long_clause_parts_between_words_and_a_long_word_within():
    assert split("one two three four", 9) == ["one two", "three", "four"]
    assert split("a " + "b" * 20 + " c", 8) == ["a", "bbbbbbb", "bbbbbbbb", "bbbbb c"]


@pytest.mark.parametrize(
    "whole",
    [
        "Then Dr. Who met J. R. Smith of the U.S. Army at 3.5 percent.",
        "See p. 7, e.g. the 2. item, i.e. St. James, etc. and so on.",
        "He asked Mr. and Mrs. Jones at 5 p.m. on Jan. 3 for 1,000.50 pounds.",
    ],
)
def test_an_abbreviation_ends_no_sentence(whole: str):
    assert split(f"{whole} And left.", spoken_chars(whole)) == [whole, "And left."]


@pytest.mark.parametrize("end", ["so did I.", "in 1984.", 'he said "no."', "what?!", "(really.)"])
def test_but_these_do(end: str):
    first = f"This happened, and {end}"
    assert split(f"{first} Then she left, at last.", 48) == [first, "Then she left, at last."]


def test_the_sentences_of_scripts_without_blanks_part_too():
    assert split("今日は寒い。明日は暖かい。", 32) == ["今日は寒い。", "明日は暖かい。"]


@given(PROSE, st.integers(8, 60))
def test_the_pieces_fit_and_hold_every_word_in_order(text: str, max_chars: int):
    pieces = split(text, max_chars)
    assert all(spoken_chars(piece) <= max_chars for piece in pieces)
    assert all(piece == piece.strip() and letters_and_digits(piece) for piece in pieces)
    assert letters_and_digits("".join(pieces)) == letters_and_digits(text)
    # Only words that are too long by themselves are cut, and only marks without a word are dropped.
    left = iter(re.findall(r"\S+", text))
    words = [w for w in left if spoken_chars(w) <= max_chars and letters_and_digits(w)]
    spoken = iter([word for piece in pieces for word in piece.split()])
    assert all(word in spoken for word in words)


@given(st.lists(st.from_regex(r"[ab7]{1,30}[.,!]?", fullmatch=True), min_size=1))
def test_the_pieces_are_as_long_as_fits(words: list[str]):
    for piece, following in pairwise(split(" ".join(words), 60)):
        assert spoken_chars(f"{piece} {following}") > 60


@pytest.mark.parametrize(
    ("text", "chars"), [("a b.", 4), ("7", 6), ("5%", 12), ("漢字", 8), ("", 0)]
)
def test_length_is_counted_as_it_is_spoken(text: str, chars: int):
    assert spoken_chars(text) == chars


def test_a_piece_fits_the_frames_of_a_reply_even_when_spoken_slowly():
    assert MAX_PIECE_CHARS / 10 <= 250 * 0.08


def test_a_bound_in_which_no_digit_fits_is_refused():
    with pytest.raises(ValueError, match="at least 8"):
        split("a", 7)
