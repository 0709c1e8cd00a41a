"""What was said against what was heard."""

import pytest

from agent.voices.words import compare, spoken_words


def test_case_and_punctuation_are_not_heard():
    assert compare("Well - I know, don't I?", "well I know don't I").errors == 0


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("I have 25 cats.", "i have twenty five cats"),
        ("a well-known twenty-five", "a well known twenty five"),
        ("Dr. Who & co", "doctor who and co"),
        ("", ""),
        ("... — !", ""),
    ],
)
def test_words_are_compared_as_they_are_spoken(written, words):
    assert " ".join(spoken_words(written)) == words


@pytest.mark.parametrize(
    ("heard", "rate", "differences"),
    [
        ("the cat sat on the mat", 0, []),
        ("the hat sat on the mat", 1 / 6, ["'cat' was heard as 'hat'"]),
        ("the cat sat on mat", 1 / 6, ["'the' was not heard"]),
        ("the cat sat down on the mat", 1 / 6, ["'down' is not in the text"]),
        ("a dog sat on the mat", 2 / 6, ["'the cat' was heard as 'a dog'"]),
        ("", 1, ["'the cat sat on the mat' was not heard"]),
    ],
)
def test_the_differences_are_named(heard, rate, differences):
    comparison = compare("The cat sat on the mat.", heard)
    assert comparison.error_rate == pytest.approx(rate)
    assert [str(difference) for difference in comparison.differences] == differences


def test_a_text_of_nothing_cannot_be_right():
    assert compare("", "four words too many").error_rate == 4
