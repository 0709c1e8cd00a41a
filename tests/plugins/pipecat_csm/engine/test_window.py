"""Who leaves, and when: arithmetic on sizes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pipecat_csm.engine.window import Limits, check_references, oldest_kept, tail
from pipecat_csm.errors import ContextError
from pipecat_csm.segment import Segment

LIMITS = Limits()
SIZES = st.lists(st.integers(3, LIMITS.segment), max_size=40)
REFERENCES = st.integers(0, LIMITS.references)
# The text of a piece is at most some 200 characters.
RESERVES = st.integers(LIMITS.reply, LIMITS.reply + 260)


def kept(sizes, references=0, reserve=250, first=0, limits=LIMITS) -> list[int]:
    begin = oldest_kept(sizes, references=references, reserve=reserve, limits=limits, first=first)
    return list(sizes[begin:])


def test_nothing_leaves_until_the_history_is_past_the_high_mark():
    assert kept([300] * 5) == [300] * 5
    assert kept([307] * 5 + [10]) == [307] * 5 + [10], "1,535 are before the newest"


def test_past_it_the_oldest_leave_at_once_down_to_the_low_mark():
    assert kept([100] * 16 + [10]) == [100] * 10 + [10]
    assert kept([100] * 16 + [10] * 5) == [100] * 10 + [10] * 5, "and then none for long"


def test_the_newest_segment_does_not_decide_who_leaves():
    before = [100] * 16
    assert all(kept([*before, newest])[:-1] == [100] * 10 for newest in (3, 100, 600))


def test_the_references_count_and_stay():
    assert kept([100] * 11 + [10], references=512) == [100] * 5 + [10]


def test_a_long_text_makes_room_for_itself():
    assert kept([100] * 15, reserve=600) == [100] * 10
    assert kept([100] * 15, reserve=1600) == [100] * 4
    assert kept([600], references=512, reserve=1000) == [], "not even the newest fits"


@given(SIZES, REFERENCES, RESERVES)
def test_the_window_is_never_passed_and_the_newest_stays(sizes, references, reserve):
    left = kept(sizes, references, reserve)
    assert references + sum(left) + reserve <= LIMITS.positions
    assert len(left) >= min(1, len(sizes))
    assert left == sizes[len(sizes) - len(left) :]


@given(SIZES, REFERENCES, st.data())
def test_asked_every_turn_or_once_the_answer_is_the_same(sizes, references, data):
    # As long as no long Segment forces it: then what left before it came depends on the turns.
    sizes = [min(size, 200) for size in sizes]
    turns = sorted(data.draw(st.sets(st.integers(0, len(sizes)))))
    first = 0
    for turn in turns:
        first = len(sizes[:turn]) - len(kept(sizes[:turn], references, first=first))
    assert kept(sizes, references, first=first) == kept(sizes, references)


@given(SIZES, REFERENCES, st.integers(3, 200))
def test_what_leaves_next_is_known_a_turn_ahead(sizes, references, newest):
    sizes = [min(size, 200) for size in sizes]
    now = len(sizes) - len(kept(sizes, references))
    ahead = kept([*sizes, 0], references, first=now)[:-1]
    assert kept([*sizes, newest], references, first=now)[:-1] == ahead


@given(SIZES, REFERENCES)
def test_rebuilds_are_rare(sizes, references):
    """Between two of them at least the difference of the marks is spoken, less one Segment."""
    sizes = [min(size, 200) for size in sizes]
    first, since = 0, 10_000
    for turn in range(1, len(sizes) + 1):
        now = turn - len(kept(sizes[:turn], references, first=first))
        if now > first:
            assert since >= LIMITS.high - LIMITS.low - 200
            first, since = now, 0
        since += sizes[turn - 1]


def test_a_smaller_engine_has_smaller_limits_and_a_larger_one_the_same():
    assert Limits.of(256) == Limits(256, 64, 75, 31, 192, 128)
    assert Limits.of(2048) == Limits.of(9999) == LIMITS


def test_references_that_are_too_long_are_refused_with_the_bound():
    check_references(512, LIMITS)
    with pytest.raises(ContextError, match="513 positions; together they may take 512"):
        check_references(513, LIMITS)


# The end of a long Segment.


def measure(segment: Segment) -> int:
    assert segment.codes is not None
    return 3 + len(segment.text.split()) + len(segment.codes)


def long(text: str, frames: int) -> Segment:
    return Segment(text, 1, codes=torch.arange(frames)[:, None].expand(-1, 4).contiguous())


def test_the_end_of_a_long_segment_stays_with_its_words():
    segment = long("one two three four five six seven eight", 1000)
    end = tail(segment, measure, 500)
    assert end is not None
    assert end.text == "six seven eight", "the cut goes through the fifth"
    assert end.codes is not None
    assert end.codes[-1, 0] == 999
    assert 480 <= measure(end) <= 500
    assert (end.id, end.speaker) == (segment.id, segment.speaker)


def test_no_word_stays_without_its_sound():
    end = tail(long("aaaaaaaa bbbbbbbb cc", 1000), measure, 500)
    assert end is not None
    assert end.text == "cc", "the cut goes through the b's"


@pytest.mark.parametrize(
    "segment",
    [
        Segment("Not encoded yet.", 0, audio=torch.zeros(100)),
        long("Onesinglelongword", 1000),
        long(" ".join("abcdefgh" * 100), 0),
    ],
)
def test_where_nothing_can_remain_it_is_left_out(segment):
    def size(segment: Segment) -> int:
        return 1000 if segment.codes is None else measure(segment)

    assert tail(segment, size, 500) is None


@given(st.text("ab ", max_size=300), st.integers(0, 1000), st.integers(1, 700))
def test_an_end_is_short_enough_and_an_end(text, frames, most):
    segment = long(text, frames)
    end = tail(segment, measure, most)
    if end is not None:
        assert segment.codes is not None
        assert end.codes is not None
        assert measure(end) <= most
        assert end.text
        assert text.rstrip().endswith(end.text)
        assert len(end.codes) > 0
        assert end.codes.equal(segment.codes[-len(end.codes) :])
