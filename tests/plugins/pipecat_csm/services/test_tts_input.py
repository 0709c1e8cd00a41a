"""Whatever a language model writes, and however long a conversation grows, the voice goes on."""

import pytest
import torch
from pipecat.frames.frames import (
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat_csm.history import SegmentHistory
from pipecat_csm.segment import Segment
from pipecat_csm.text import MAX_TEXT_CHARS

from tests.plugins.pipecat_csm.services.stage import Stage


async def says(stage: Stage, text: str) -> None:
    """A plain sentence is spoken after whatever came before."""
    before = len(stage.conversation.history.heard)
    await stage.answer(text)
    assert [s.text for s in (await stage.heard(before + 1))[before:]] == [text]


@pytest.mark.parametrize("text", ["👍🎉", "...", "?!", "\0", "“”", "— —", "\u200b\u2060", "*_*"])
async def test_what_nobody_can_say_is_passed_over(engine, voices, text):
    async with Stage(engine, voices) as stage:
        await stage.queue([TTSSpeakFrame(text)])
        await says(stage, "And now this.")
        assert not stage.errors
        assert len(stage.conversation.history.heard) == 1


async def test_what_nobody_can_say_in_the_middle_of_a_reply_is_passed_over(engine, voices):
    async with Stage(engine, voices) as stage:
        await stage.answer("Well done. 👍 That was it. 🎉 !")
        heard = await stage.heard(2)
        assert not stage.errors
        assert [s.text for s in heard] == ["Well done.", "That was it."]


async def test_a_nul_in_a_word_is_not_heard(engine, voices):
    async with Stage(engine, voices) as stage:
        await stage.queue([TTSSpeakFrame("Hel\0lo there.")])
        assert [s.text for s in await stage.heard(1)] == ["Hello there."]
        assert not stage.errors


async def test_a_text_of_20000_characters_is_spoken_until_somebody_cuts_it_off(engine, voices):
    text = ("never " * 4_000)[: MAX_TEXT_CHARS - 1] + "."
    assert len(text) == MAX_TEXT_CHARS
    async with Stage(engine, voices) as stage:
        await stage.queue([TTSSpeakFrame(text)])
        await stage.speaker.plays(20.0)
        await stage.barge_in()
        await stage.at_rest()
        heard = " ".join(s.text for s in stage.conversation.history.heard)
        assert text.startswith(heard)
        assert len(heard) < 2_000
        await says(stage, "Enough of that.")
        assert not stage.errors


async def test_a_longer_text_is_refused_in_a_sentence(engine, voices):
    async with Stage(engine, voices) as stage:
        await stage.queue([TTSSpeakFrame("never " * 4_000)])
        await stage.until(lambda: stage.errors)
        assert stage.errors == [
            "The text has more than 20,000 characters; speak it in several parts."
        ]
        assert stage.tts.is_usable
        await says(stage, "And now this.")


class Words(BaseObserver):
    """What a client is told of the words while they are spoken."""

    def __init__(self) -> None:
        super().__init__()
        self.spoken: list[str] = []
        self._seen: set[int] = set()

    async def on_push_frame(self, data: FramePushed) -> None:
        frame: Frame = data.frame
        if isinstance(frame, TTSTextFrame) and frame.id not in self._seen:
            self._seen.add(frame.id)
            self.spoken.append(frame.text)


@pytest.mark.parametrize(
    "sentences",
    [
        ["I think so ...", "No - really."],
        ["Is that you ?", "Yes !"],
        ["5 €", "3 + 2 ="],
        ["Good 👍 .", "Bye 👋"],
    ],
)
async def test_no_word_is_told_twice_or_in_the_wrong_sentence(engine, voices, sentences):
    words = Words()
    async with Stage(engine, voices, observers=[words]) as stage:
        await stage.queue([LLMFullResponseStartFrame()])
        for sentence in sentences:
            await stage.queue([LLMTextFrame(sentence + "\n\n")])
        await stage.queue([LLMFullResponseEndFrame()])
        await stage.until(lambda: stage.said)
        assert not stage.errors
        assert stage.said[0].split() == " ".join(sentences).split()
        spoken = "".join(words.spoken)
        assert [c for c in spoken if c.isalnum()] == [c for c in stage.said[0] if c.isalnum()]


@pytest.mark.parametrize("bound", [{"max_segments": 2}, {"max_s": 9.0}])
async def test_a_history_at_its_limit_does_not_disturb_a_reply(engine, voices, bound):
    history = SegmentHistory(**bound)
    history.add(spoken_by_the_caller(20))
    async with Stage(engine, voices, history=history) as stage:
        requests: list[str] = []
        stage.tts.add_event_handler("on_tts_request", lambda _, __, text: requests.append(text))
        sentences = ["Here I am.", "This is more.", "And some."]
        await stage.answer(" ".join(sentences))
        await stage.until(lambda: len(requests) == 3)
        await stage.at_rest()
        assert requests == sentences
        assert not stage.errors
        left = len(history.heard)
        assert 0 < left < 3
        assert [s.text for s in history.heard] == sentences[-left:]
        assert stage.speaker.played_s > 9.0
        assert stage.conversation.in_step


def spoken_by_the_caller(frames: int) -> Segment:
    codes = torch.randint(0, 16, (frames, 4), generator=torch.manual_seed(frames))
    return Segment("So much have I said.", 1, codes=codes)


async def first_sentence(engine, voices, said_meanwhile: list[Segment]) -> torch.Tensor:
    async with Stage(engine, voices) as stage:
        stage.conversation.history.add(spoken_by_the_caller(900))
        await stage.answer("This is what I wanted to say to you all along. And this.")
        await stage.speaker.plays(0.5)
        for segment in said_meanwhile:
            stage.conversation.history.add(segment)
            stage.conversation.follow()
        heard = await stage.heard(2)
        assert not stage.errors
        assert stage.conversation.positions <= 2_048
        assert heard[0].codes is not None
        return heard[0].codes


async def test_a_context_that_overflows_in_the_middle_of_a_reply_does_not_disturb_it(
    engine, voices
):
    # 600 positions are the most that a Segment may take, and 1,536 the most that stay.
    meanwhile = [spoken_by_the_caller(frames) for frames in (700, 500, 590)]
    undisturbed = await first_sentence(engine, voices, [])
    assert torch.equal(await first_sentence(engine, voices, meanwhile), undisturbed)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
async def test_the_pipeline_may_have_any_rate(engine, voices, rate_hz):
    async with Stage(engine, voices, rate_hz=rate_hz) as stage:
        await stage.answer("Here I am.")
        (heard,) = await stage.heard(1)
        assert stage.tts.sample_rate == rate_hz
        # A resampler keeps the last few milliseconds for what comes next.
        assert stage.speaker.played_s == pytest.approx(heard.duration_s, abs=0.1)
