"""Texts are cut where a speaker could pause, and the first piece is short."""

from hypothesis import given
from hypothesis import strategies as st

from agent.embedded.clauses import split_clauses

WORDS = st.lists(
    st.sampled_from(["one", "two,", "three.", "and", "because", "—", "“four”;", "😀"]), max_size=80
)


def test_short_texts_stay_whole():
    assert split_clauses("Yes, of course, it is.") == ["Yes, of course, it is."]


def test_a_long_sentence_is_cut_after_its_first_clause():
    text = "First of all, tell me where you are, and what you would like to do."
    assert split_clauses(text)[0] == "First of all,"


def test_a_piece_is_never_a_word_or_two():
    pieces = split_clauses("Well, yes, I could come over tomorrow, or on Friday, if so.")
    assert pieces[0] == "Well, yes, I could come over tomorrow,"


def test_clauses_that_run_on_are_cut_before_a_conjunction():
    text = "The engine was far too hot to touch so the driver waited by the side of the road"
    assert split_clauses(text)[0] == "The engine was far too hot to touch"


def test_without_a_place_to_cut_a_text_stays_whole():
    text = "one two three four five six seven eight nine ten eleven twelve"
    assert split_clauses(text) == [text]


def test_nothing_gives_no_pieces():
    assert split_clauses(" \n ") == []


@given(WORDS)
def test_no_word_is_lost_or_moved(words: list[str]):
    pieces = split_clauses(" ".join(words))
    assert " ".join(pieces).split() == words
    assert all(len(piece.split()) >= 3 for piece in pieces) or len(pieces) == 1
