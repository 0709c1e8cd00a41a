"""Settings change from the voice's next sentence on; those that make no sense do not."""

import math
from typing import Any

import pytest
import torch
from pipecat.frames.frames import (
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.services.settings import TTSSettings
from pipecat_csm.segment import Segment
from pipecat_csm.services.tts import CSMTTSService

from tests.plugins.pipecat_csm.services.stage import Stage


def update(**changes: Any) -> TTSUpdateSettingsFrame:
    return TTSUpdateSettingsFrame(delta=CSMTTSService.Settings(**changes))


async def two_sentences(engine, voices, **changes: Any) -> list[torch.Tensor]:
    """The codes of two sentences, between which settings may change."""
    async with Stage(engine, voices) as stage:
        await stage.queue(
            [
                LLMFullResponseStartFrame(),
                LLMTextFrame("This is the first. A"),
                *([update(**changes)] if changes else []),
                LLMTextFrame("nd this is the second."),
                LLMFullResponseEndFrame(),
            ]
        )
        heard = await stage.heard(2)
        assert not stage.errors
        assert [s.text for s in heard] == ["This is the first.", "And this is the second."]
        return [s.codes for s in heard if s.codes is not None]


@pytest.mark.parametrize(
    "changes", [{"temperature": 0.0}, {"top_k": 1}, {"seed": 8}, {"voice": "nobody"}]
)
async def test_a_change_counts_from_the_next_sentence_on(engine, voices, changes):
    first, second = await two_sentences(engine, voices)
    changed_first, changed_second = await two_sentences(engine, voices, **changes)
    assert torch.equal(changed_first, first)
    assert changed_second.tolist() != second.tolist()


async def test_what_is_set_to_what_it_is_changes_nothing(engine, voices):
    first, second = await two_sentences(engine, voices)
    again = await two_sentences(engine, voices, temperature=0.7, voice="ada")
    assert [codes.tolist() for codes in again] == [first.tolist(), second.tolist()]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"voice": "eve"}, "There is no voice 'eve'; there are ada, nobody."),
    ({"voice": ["ada"]}, "There is no voice ['ada']; there are ada, nobody."),
    ({"temperature": -1}, "temperature is a number from 0 to 1,000, not -1."),
    ({"temperature": math.nan}, "temperature is a number from 0 to 1,000, not nan."),
    ({"temperature": 1e9}, "temperature is a number from 0 to 1,000, not 1000000000.0."),
    ({"temperature": "hot"}, "temperature is a number from 0 to 1,000, not 'hot'."),
    ({"temperature": None}, "temperature is a number from 0 to 1,000, not None."),
    ({"top_k": -1}, "top_k is a whole number from 0 to 1,000,000, not -1."),
    ({"top_k": 10**9}, "top_k is a whole number from 0 to 1,000,000, not 1000000000."),
    ({"top_k": 2.5}, "top_k is a whole number from 0 to 1,000,000, not 2.5."),
    ({"seed": "lucky"}, "seed is a whole number, not 'lucky'."),
    # Of two changes one of which makes no sense neither is made.
    ({"temperature": 0.1, "top_k": -7}, "top_k is a whole number from 0 to 1,000,000, not -7."),
]


async def test_what_makes_no_sense_is_refused_in_a_sentence_and_the_call_goes_on(engine, voices):
    async with Stage(engine, voices) as stage:
        before = stage.tts.settings.given_fields()
        for number, (changes, _) in enumerate(BAD, 1):
            await stage.queue([update(**changes)])
            await stage.until(lambda number=number: len(stage.errors) == number)
        assert stage.errors == [f"{why} All settings stay as they were." for _, why in BAD]
        assert stage.tts.settings.given_fields() == before
        assert stage.tts.is_usable
        await stage.answer("Here I am.")
        assert [s.text for s in await stage.heard(1)] == ["Here I am."]


async def test_a_top_k_of_0_draws_from_all_codes(engine, voices):
    _, second = await two_sentences(engine, voices, top_k=0)
    assert len(second)


async def test_a_voice_that_cannot_be_opened_leaves_the_old_one(engine, voices):
    codes = torch.randint(0, 16, (600, 4), generator=torch.manual_seed(7))
    huge = {"huge": [Segment("This goes on and on.", 0, codes=codes)]}
    async with Stage(engine, voices | huge) as stage:
        await stage.queue([update(voice="huge")])
        await stage.until(lambda: stage.errors)
        (error,) = stage.errors
        assert "references" in error
        assert error.endswith("The voice stays as it was.")
        assert stage.tts.settings.given_fields()["voice"] == "ada"
        await stage.answer("Here I am.")
        assert [s.text for s in await stage.heard(1)] == ["Here I am."]


async def test_a_voice_that_is_deleted_while_it_is_in_use_goes_on(engine, voices):
    mine = dict(voices)
    async with Stage(engine, mine) as stage:
        mine.clear()
        await stage.queue([update(voice="nobody"), update(voice="ada")])
        await stage.answer("Here I am.")
        await stage.heard(1)
        assert not stage.errors


async def test_a_change_for_any_voice_is_taken_as_far_as_it_goes(engine, voices):
    async with Stage(engine, voices) as stage:
        change = TTSSettings(voice="nobody", extra={"speed": 2})
        await stage.queue([TTSUpdateSettingsFrame(delta=change)])
        await stage.answer("Here I am.")
        await stage.heard(1)
        assert not stage.errors
        assert stage.tts.settings.given_fields()["voice"] == "nobody"
