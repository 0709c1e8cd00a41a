"""What belongs to a segment, where it may be cut, and what wakes its reader."""

import asyncio

import numpy as np
import pytest
from pipecat_whisper.segment import PreRoll, Segment

from tests.plugins.pipecat_whisper.speech import hiss, silence


def ramp(samples: int, first: int = 0) -> np.ndarray:
    return np.arange(first, first + samples, dtype=np.float32)


def test_a_pre_roll_keeps_the_last_moments():
    pre_roll = PreRoll(length_s=0.1)
    for first in range(0, 16_000, 320):
        pre_roll.append(ramp(320, first))
    kept = pre_roll.take()
    assert 1600 <= len(kept) <= 1920
    np.testing.assert_array_equal(kept, ramp(len(kept), 16_000 - len(kept)))


def test_a_pre_roll_is_handed_over_once():
    pre_roll = PreRoll(length_s=0.1)
    pre_roll.append(ramp(320))
    pre_roll.take()
    assert len(pre_roll.take()) == 0


@pytest.mark.parametrize("lag_s", [0.2, 1.0, 2.5])
def test_an_opening_holds_the_voice_however_late_the_vad_is(lag_s: float):
    pre_roll = PreRoll(length_s=4.0)
    sound = np.concatenate([hiss(4.0, 0.001), hiss(lag_s, 0.1)])
    for begin in range(0, len(sound), 320):
        pre_roll.append(sound[begin : begin + 320])
    opening = pre_roll.take_opening()
    assert max(0.8, lag_s + 0.15) <= len(opening) / 16_000 <= max(0.9, lag_s + 0.3)


def test_an_opening_of_nothing_is_nothing():
    assert len(PreRoll(length_s=4.0).take_opening()) == 0


def segment_of(*pieces: np.ndarray, notice_pauses: bool = True) -> Segment:
    segment = Segment(silence(0), user_id="", notice_pauses=notice_pauses)
    for piece in pieces:
        for begin in range(0, len(piece), 320):
            segment.append(piece[begin : begin + 320])
    return segment


def test_audio_is_all_that_was_heard_in_order():
    segment = Segment(ramp(100), user_id="", notice_pauses=True)
    segment.append(ramp(100, 100))
    assert len(segment.audio()) == 200
    segment.append(ramp(100, 200))
    np.testing.assert_array_equal(segment.audio(), ramp(300))


@pytest.mark.parametrize(("seconds", "covered"), [(1.0, False), (1.7, False), (1.9, True)])
def test_a_decode_covers_the_speech_when_only_silence_came_after_it(seconds: float, covered: bool):
    segment = segment_of(hiss(2.0, 0.1))
    assert not segment.is_covered_by(32_000)
    segment.close(silence_s=0.2)
    assert segment.is_covered_by(int(seconds * 16_000)) is covered


def test_long_speech_is_cut_in_its_gap_and_loses_nothing():
    sound = np.concatenate([hiss(4, 0.1), silence(0.3), hiss(1.7, 0.1)])
    segment = segment_of(sound)
    rest = segment.cut()
    assert segment.closed
    assert 4.0 < segment.duration_s < 4.3
    np.testing.assert_array_equal(np.concatenate([segment.audio(), rest]), sound)


def test_a_cut_leaves_both_parts_something():
    segment = segment_of(hiss(1.0, 0.1))
    rest = segment.cut()
    assert segment.duration_s >= 0.5
    assert len(rest) > 0


async def wakes(segment: Segment) -> bool:
    waiting = asyncio.create_task(segment.wait(None))
    for _ in range(5):
        await asyncio.sleep(0)
    woken = waiting.done()
    waiting.cancel()
    return woken


async def test_a_pause_wakes_the_reader_once():
    segment = segment_of(hiss(1, 0.1), silence(0.2))
    assert await wakes(segment)
    segment.append(silence(0.5))
    assert not await wakes(segment)


async def test_the_gap_of_a_stop_consonant_is_no_pause():
    assert not await wakes(segment_of(hiss(1, 0.1), silence(0.1), hiss(0.2, 0.1)))


async def test_a_reader_who_does_not_care_for_pauses_sleeps_until_the_end():
    segment = segment_of(hiss(1, 0.1), silence(0.5), notice_pauses=False)
    assert not await wakes(segment)
    segment.close()
    assert await wakes(segment)
    assert await wakes(segment)
