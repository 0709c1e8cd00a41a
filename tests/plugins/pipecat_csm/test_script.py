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
        ("[007] Hello.", [Line(7, "Hello.")]),
        ("\ufeff[1] From Windows.\r\n[0] Hi.\r\n", [Line(1, "From Windows."), Line(0, "Hi.")]),
        ("\n \n", []),
    ],
)
def test_lines(text, expected):
    assert parse_script(text) == expected


def test_the_first_speaker_can_be_another():
    assert parse_script("Hello.", speaker=3) == [Line(3, "Hello.")]


@pytest.mark.parametrize("number", ["65536", "70000", "-1", "9" * 10_000])
def test_a_speaker_out_of_range(number):
    with pytest.raises(TextError, match=f"no speaker {number[:12]}; .* from 0 to 65,535"):
        parse_script(f"[{number}] Hello.")
