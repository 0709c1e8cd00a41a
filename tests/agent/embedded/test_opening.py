"""The first clause of an answer comes early; everything else comes as sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.embedded.kokoro_tts import KokoroTTSService


async def pieces(*tokens: str) -> list[str]:
    aggregator = KokoroTTSService.aggregator()
    found = [a.text for token in tokens async for a in aggregator.aggregate(token)]
    rest = await aggregator.flush()
    return found + ([rest.text] if rest else [])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Well, I think so, yes. Do you?", ["Well,", "I think so, yes.", "Do you?"]),
        ("I think so. Well, yes, it is.", ["I think so.", "Well, yes, it is."]),
        ("He said “no,” and left.", ["He said “no,”", "and left."]),
        ("It costs 5,000 euros.", ["It costs 5,000 euros."]),
        ("On March 3, 2024, it rained.", ["On March 3, 2024, it rained."]),
        ("3, 2, one, go.", ["3, 2, one,", "go."]),
        ("Well — yes, it is.", ["Well — yes,", "it is."]),
        ("Yes,", ["Yes,"]),
        ("", []),
    ],
)
async def test_only_the_first_clause_is_cut_off(answer: str, expected: list[str]):
    assert await pieces(answer) == expected


async def test_it_does_not_wait_for_the_sentence():
    aggregator = KokoroTTSService.aggregator()
    assert not [a async for a in aggregator.aggregate("Well, ")]
    assert [a.text async for a in aggregator.aggregate("I")] == ["Well,"]


async def test_every_answer_has_an_opening():
    aggregator = KokoroTTSService.aggregator()
    for end in (aggregator.flush, aggregator.handle_interruption):
        assert [a.text async for a in aggregator.aggregate("Well, yes")] == ["Well,"]
        await end()


@given(st.lists(st.sampled_from(["One", " two,", " three.", " 4,", " —", " ", "\n"]), max_size=30))
async def test_nothing_is_lost_or_moved(tokens: list[str]):
    assert "".join("".join(await pieces(*tokens)).split()) == "".join("".join(tokens).split())
