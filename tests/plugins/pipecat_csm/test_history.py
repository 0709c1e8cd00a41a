"""The history holds what was heard, of both speakers, in order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pipecat_csm.history import SegmentHistory, turns_of
from pipecat_csm.segment import Segment

CALLER, AGENT = 1, 0


def spoken(text: str, speaker: int = AGENT, frames: int = 25) -> Segment:
    return Segment(text, speaker, codes=torch.arange(frames * 4).view(frames, 4) % 16)


def texts(history: SegmentHistory) -> list[str]:
    return [segment.text for segment in history.segments]


@pytest.fixture
def history() -> SegmentHistory:
    return SegmentHistory()


def test_both_speakers_stand_in_the_order_in_which_they_spoke(history):
    history.add(spoken("Hello.", CALLER))
    history.expect("turn 1", spoken("Hi."))
    history.expect("turn 1", spoken("How are you?"))
    assert history.commit("turn 1").text == "Hi. How are you?"
    history.add(spoken("Fine.", CALLER))
    assert texts(history) == ["Hello.", "Hi.", "How are you?", "Fine."]
    assert turns_of(history.segments) == [
        (CALLER, "Hello."),
        (AGENT, "Hi. How are you?"),
        (CALLER, "Fine."),
    ]


def test_what_is_about_to_be_heard_conditions_what_follows(history):
    history.expect("turn 1", spoken("Hi."))
    assert texts(history) == ["Hi."]
    assert history.heard == ()
    assert [segment.text for segment in history.pending("turn 1")] == ["Hi."]
    history.commit("turn 1")
    assert [segment.text for segment in history.heard] == ["Hi."]
    assert history.pending("turn 1") == ()


def test_a_barge_in_leaves_what_was_heard(history):
    first = spoken("Hi.", frames=10)
    second = spoken("I can tell you a story of the sea.", frames=100)
    for segment in (first, second, spoken("Or none.")):
        history.expect("turn 1", segment)
    # The first, and 40 frames and a bit of the second.
    left = history.commit("turn 1", 0.8 + 3.25)
    kept = history.segments
    assert kept[0] is first, "what was heard to its end is the same Segment"
    assert (kept[1].id, kept[1].revision) == (second.id, 1)
    assert kept[1].codes is not None
    assert second.codes is not None
    assert torch.equal(kept[1].codes, second.codes[:40])
    assert second.text.startswith(kept[1].text)
    assert 0 < len(kept[1].text) < len(second.text)
    assert len(kept) == 2
    assert left.text == f"Hi. {kept[1].text}"
    assert left.seconds == pytest.approx(4.0)
    assert not left.is_whole


def test_the_words_are_those_that_had_been_spoken(history):
    history.expect("t", spoken("One two three.", frames=50), lambda seconds: f"until {seconds:.2f}")
    assert history.commit("t", 2.05).text == "until 2.00"


def test_half_a_second_is_no_speech(history):
    history.expect("t", spoken("One two three four five."))
    assert history.commit("t", 0.49).text == ""
    assert texts(history) == []


def test_a_sound_without_words_is_none(history):
    history.expect("t", spoken("Incomprehensibilities.", frames=50), lambda seconds: " ")
    assert history.commit("t", 2.0).text == ""


def test_a_short_sentence_that_was_heard_whole_stays(history):
    history.expect("t", spoken("No.", frames=4))
    assert history.commit("t", 0.32).is_whole
    assert texts(history) == ["No."]


def test_a_reply_that_nobody_heard_was_never_said(history):
    history.add(spoken("Hello.", CALLER))
    history.expect("t", spoken("Hi."))
    left = history.commit("t", 0.0)
    assert (left.text, left.seconds, left.is_whole) == ("", 0.0, False)
    assert texts(history) == ["Hello."]


def test_a_second_commit_changes_nothing(history):
    history.expect("t", spoken("Hi there, all of you.", frames=50))
    history.commit("t", 2.0)
    before, version = history.segments, history.version
    assert history.commit("t", 0.0).text == ""
    assert history.segments == before
    assert history.version == version


def test_turns_are_committed_each_for_itself(history):
    history.expect("greeting", spoken("Welcome."))
    history.expect("answer", spoken("Yes, surely."))
    history.commit("answer", 0.0)
    assert texts(history) == ["Welcome."]
    history.commit("greeting")
    assert texts(history) == ["Welcome."]


def test_text_without_sound_is_no_part_of_it(history):
    with pytest.raises(ValueError, match="'Typed' has no sound"):
        history.add(Segment("Typed", CALLER))


def test_it_is_bounded_by_count_and_by_time():
    few = SegmentHistory(max_segments=3)
    for number in range(5):
        few.add(spoken(f"{number}"))
    assert texts(few) == ["2", "3", "4"]
    short = SegmentHistory(max_s=5.0)
    for number in range(5):
        short.add(spoken(f"{number}"))  # of two seconds
    assert texts(short) == ["3", "4"]


def test_what_is_being_said_does_not_leave():
    history = SegmentHistory(max_segments=1)
    history.add(spoken("Old."))
    history.expect("t", spoken("One."))
    history.expect("t", spoken("Two."))
    assert texts(history) == ["One.", "Two."]
    history.commit("t")
    assert texts(history) == ["Two."]


@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=6),
    st.floats(0, 40, allow_nan=False),
)
def test_no_more_stays_than_was_heard(lengths, heard_s):
    history = SegmentHistory()
    for number, frames in enumerate(lengths):
        history.expect("t", spoken(f"This is the sentence number {number}.", frames=frames))
    before = history.segments
    left = history.commit("t", heard_s)
    after = history.segments
    assert sum(segment.duration_s for segment in after) <= heard_s + 1e-9
    assert left.seconds == pytest.approx(sum(segment.duration_s for segment in after))
    assert left.text == " ".join(segment.text for segment in after)
    assert left.is_whole == (after == before)
    for old, new in zip(before, after, strict=False):
        assert old.id == new.id
        assert old.text.startswith(new.text)
        assert old.codes is not None
        assert new.codes is not None
        assert torch.equal(old.codes[: len(new.codes)], new.codes)
        assert (new.revision == old.revision) == (len(new.codes) == len(old.codes))
