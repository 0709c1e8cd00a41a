"""A generation that has run away is noticed; speech is not taken for one."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat_csm.watch import REPEATED_FRAMES, Runaway, RunawayWatch, max_frames

TEXT = "A sentence of ordinary length, which takes three or four seconds."
SPEECH, SILENCE = 0.07, 0.001
FRAME_S = 0.08


def frame(seed: int) -> list[int]:
    return random.Random(seed).choices(range(2048), k=32)


def feed(watch: RunawayWatch, rms: list[float | None]) -> list[Runaway | None]:
    """Frames that are all different, of these levels."""
    return [watch.feed(frame(i), level) for i, level in enumerate(rms)]


def seconds(length_s: float, rms: float | None) -> list[float | None]:
    return [rms] * round(length_s / FRAME_S)


def test_ordinary_speech_passes():
    levels = seconds(1.5, SILENCE) + seconds(2, SPEECH) + seconds(2, SILENCE) + seconds(2, SPEECH)
    assert feed(RunawayWatch(TEXT), levels) == [None] * len(levels)


def test_the_same_frame_for_a_second_is_a_run_away():
    watch = RunawayWatch(TEXT)
    feed(watch, seconds(1, SPEECH))
    found = [watch.feed(frame(-1), SPEECH) for _ in range(20)]
    assert found.index(Runaway.REPEATED) == REPEATED_FRAMES - 1


@pytest.mark.parametrize("length", [2, 3, 4])
def test_so_is_a_short_loop(length: int):
    watch = RunawayWatch(TEXT)
    found = [watch.feed(frame(i % length), SPEECH) for i in range(30)]
    assert found.index(Runaway.REPEATED) <= REPEATED_FRAMES + length


@given(st.integers(0, 31), st.integers(1, REPEATED_FRAMES - 1))
def test_one_other_code_is_another_frame(codebook: int, repeats: int):
    watch = RunawayWatch(TEXT)
    other = frame(0)
    other[codebook] += 1
    for _ in range(3):
        assert [watch.feed(frame(0)) for _ in range(repeats)] == [None] * repeats
        assert watch.feed(other) is None
        assert watch.feed(frame(1)) is None


def test_silence_after_speech_ends_in_three_seconds():
    found = feed(RunawayWatch(TEXT), seconds(1, SPEECH) + seconds(4, SILENCE))
    assert found.index(Runaway.SILENT) * FRAME_S == pytest.approx(1 + 3, abs=0.1)


def test_silence_from_the_start_ends_in_four():
    found = feed(RunawayWatch(TEXT), seconds(5, SILENCE))
    assert found.index(Runaway.NO_SPEECH) * FRAME_S == pytest.approx(4, abs=0.1)


def test_not_a_number_is_silence():
    assert feed(RunawayWatch(TEXT), seconds(5, float("nan")))[-1] is Runaway.NO_SPEECH


def test_without_levels_nothing_is_taken_for_silence():
    assert feed(RunawayWatch(TEXT), seconds(8, None))[-1] is None


@pytest.mark.parametrize("text", ["Hi.", TEXT, "It is 1,024.50 €.", "Call 555 123 4567."])
def test_far_more_frames_than_the_text_can_need_is_a_run_away(text: str):
    watch = RunawayWatch(text)
    found = feed(watch, [SPEECH] * (watch.max_frames + 1))
    assert found[-2:] == [None, Runaway.TOO_LONG]


def test_a_short_text_has_time_and_a_long_one_three_times_its_own():
    assert 3.0 < max_frames("Hi.") * FRAME_S < 5.0
    assert max_frames("a" * 150) * FRAME_S == pytest.approx(3 * 10 + 3, abs=0.1)


def test_digits_take_the_time_of_words():
    # One digit in half a second is slow.
    assert max_frames("5551234567") * FRAME_S > 10 / 2 + 3


def test_the_first_finding_stands():
    watch = RunawayWatch(TEXT)
    feed(watch, seconds(5, SILENCE))
    assert watch.feed(frame(1), SPEECH) is Runaway.NO_SPEECH


def test_arrays_do_as_well_as_lists():
    watch = RunawayWatch(TEXT)
    codes = np.array(frame(0))
    assert [watch.feed(codes) for _ in range(REPEATED_FRAMES)][-1] is Runaway.REPEATED


def test_it_says_what_happened():
    assert str(Runaway.SILENT) == "silence after the speech"
