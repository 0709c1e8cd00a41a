"""Captions hold what two hypotheses agree on, and only grow."""

from hypothesis import example, given
from hypothesis import strategies as st
from pipecat_whisper.agreement import LocalAgreement


def test_a_first_hypothesis_is_not_shown():
    assert LocalAgreement().update("Can you tell") == ""


def test_what_two_agree_on_is_shown_without_the_guess_at_a_full_stop():
    agreement = LocalAgreement()
    agreement.update("Can you tell.")
    assert agreement.update("Can you, tell. Me?") == "Can you, tell"


def test_case_and_punctuation_are_no_disagreement_and_the_newest_spelling_counts():
    agreement = LocalAgreement()
    agreement.update("hello there can")
    assert agreement.update("Hello there. Can you") == "Hello there. Can"


def test_the_same_words_again_are_not_shown_again():
    agreement = LocalAgreement()
    agreement.update("one two")
    assert agreement.update("one two") == "one two"
    assert agreement.update("one two") == ""


def test_a_dash_that_stands_alone_is_no_word():
    agreement = LocalAgreement()
    agreement.update("one two")
    assert agreement.update("one two —") == "one two"
    assert agreement.update("one two — three") == ""
    assert agreement.update("one two — three") == "one two — three"


def test_a_contradiction_takes_nothing_back():
    agreement = LocalAgreement()
    agreement.update("I bought some bread")
    agreement.update("I bought some bread")
    assert agreement.update("I brought") == ""
    assert agreement.update("I brought some") == ""


@given(st.lists(st.text("ab .", max_size=12), max_size=12))
@example(["a", "a .", "a ."])
def test_captions_only_grow(hypotheses: list[str]):
    agreement = LocalAgreement()
    shown = [len(text.split()) for text in map(agreement.update, hypotheses) if text]
    assert shown == sorted(set(shown))
