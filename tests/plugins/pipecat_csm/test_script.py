"""A file of lines is a dialogue."""

import pytest
from pipecat_csm.errors import TextError
from pipecat_csm.script import Line, parse_script


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello.", [Line(0, "Hello.")]),
        ("Hello,\nmy dear.", [Line(0, "Hello, my dear.")]),
        ("[1] Hello.\n[0] Hi.", [Line(1, "Hello."), Line(0, "Hi.")]),
        ("[1] Hello,\nmy dear.\n\n[1] Again.", [Line(1, "Hello, my dear."), Line(1, "Again.")]),
        ("    [1] In.\n    [0] Dented.", [Line(1, "In."), Line(0, "Dented.")]),
        ("First.\n[1]\nThen.", [Line(0, "First."), Line(1, "Then.")]),
        ("It is [1] note.", [Line(0, "It is [1] note.")]),
        ("\n \n", []),
    ],
)
def test_lines(text, expected):
    assert parse_script(text) == expected


def test_the_first_speaker_can_be_another():
    assert parse_script("Hello.", speaker=3) == [Line(3, "Hello.")]


def test_a_speaker_out_of_range():
    with pytest.raises(TextError, match="no speaker 70,000"):
        parse_script("[70000] Hello.")
