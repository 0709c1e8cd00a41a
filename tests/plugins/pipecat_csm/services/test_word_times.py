"""Words are announced as they begin, and where each began is known better at the end."""

from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pipecat_csm.services.word_times import Voice, WordTimes

from tests.plugins.pipecat_csm.services.recordings import (
    PHRASES,
    RATE_HZ,
    longest_pause,
    recording,
)

FRAME = 1_920


def frames(audio: np.ndarray, size: int = FRAME) -> list[np.ndarray]:
    return [audio[i : i + size] for i in range(0, len(audio), size)]


def followed(text: str, audio: np.ndarray, voice: Voice | None = None) -> WordTimes:
    times = WordTimes(text, voice)
    for frame in frames(audio):
        times.feed(frame)
    return times


@pytest.mark.parametrize(("name", "text", "word"), PHRASES)
def test_a_sentence_begins_where_its_pause_ends(name: str, text: str, word: str):
    audio = recording(name)
    pause_s, resumed_s = longest_pause(audio)
    words, starts = zip(*followed(text, audio).finish(), strict=True)
    second = words.index(word)
    assert starts[0] == pytest.approx(0.1, abs=0.05)
    assert starts[second] == pytest.approx(resumed_s, abs=0.05)
    assert starts[second - 1] < pause_s - 0.1


@pytest.mark.parametrize(("name", "text"), [phrase[:2] for phrase in PHRASES])
def test_words_are_announced_soon_and_close_to_where_they_begin(name: str, text: str):
    audio, times = recording(name), WordTimes(text)
    announced = [(times.duration_s, *found) for f in frames(audio) for found in times.feed(f)]
    whole = times.finish()
    assert times.announced >= len(whole) - 1
    for (at_s, word, start_s), (same, best_s) in zip(announced, whole, strict=False):
        assert word == same
        assert start_s == pytest.approx(best_s, abs=0.25)
        assert start_s + 0.1 < at_s < start_s + 0.6


@pytest.mark.parametrize(("name", "text", "word"), PHRASES)
def test_a_cut_in_the_pause_keeps_the_words_before_it(name: str, text: str, word: str):
    audio = recording(name)
    in_pause_s = sum(longest_pause(audio)) / 2
    times = WordTimes(text)
    for frame in frames(audio[: int(in_pause_s * RATE_HZ)]):
        times.feed(frame)
    phrase = text[: text.index(word) - 1]
    assert times.words_until(in_pause_s) == phrase  # of what is there yet
    times.feed(audio[int(in_pause_s * RATE_HZ) :])
    assert times.words_until(in_pause_s) == phrase
    times.finish()
    assert times.words_until(in_pause_s) == phrase
    assert times.words_until(0.0) == ""
    assert times.words_until(times.duration_s) == text


def test_how_loud_it_is_makes_no_difference():
    name, text, _ = PHRASES[0]
    audio = recording(name)
    starts = [[start for _, start in followed(text, audio * gain).finish()] for gain in (1, 0.05)]
    assert starts[0] == pytest.approx(starts[1], abs=0.041)


def test_steady_noise_makes_little_difference():
    name, text, _ = PHRASES[1]
    audio = recording(name)
    noise = np.random.default_rng(0).normal(0, 0.1 * audio.std(), len(audio))
    clean, noisy = (followed(text, sound).finish() for sound in (audio, audio + noise))
    assert [s for _, s in noisy] == pytest.approx([s for _, s in clean], abs=0.1)


def test_a_voice_is_known_the_better_the_more_was_heard():
    name, text, _ = PHRASES[0]
    audio = recording(name)
    slow = soxr.resample(audio, 1, 1.3)  # deeper, too
    usual, slower = (followed(text, sound) for sound in (audio, 0.1 * slow))
    usual.finish()
    slower.finish()
    assert slower.voice.pace > 1.15 * usual.voice.pace
    assert slower.voice.level_db == pytest.approx(usual.voice.level_db - 20, abs=1)
    twice = followed(text, 0.1 * slow, slower.voice)
    twice.finish()
    assert twice.voice.heard_s > slower.voice.heard_s > 2.0
    assert twice.voice.pace > slower.voice.pace


def test_what_is_not_spoken_begins_with_the_next_word():
    text = "👋 Hello there. — Can you tell me what the capital of France is? 😀"
    words = followed(text, recording("speech")).finish()
    starts = [start for _, start in words]
    assert [word for word, _ in words] == text.split()
    assert starts[0] == starts[1]
    assert starts[3] == starts[4] == pytest.approx(longest_pause(recording("speech"))[1], abs=0.05)
    assert starts[-1] > 2.9


def test_a_text_that_is_spelled_out_gets_its_time():
    audio = recording("speech")[: int(longest_pause(recording("speech"))[0] * RATE_HZ)]
    _, second, third = (start for _, start in followed("so 1,234,567 so", audio).finish())
    assert third - second > 0.5 * len(audio) / RATE_HZ


def test_a_segment_that_breaks_off_has_words_that_were_never_said_at_its_end():
    name, text, _ = PHRASES[0]
    audio = recording(name)[: int(longest_pause(recording(name))[0] * RATE_HZ)]
    words = followed(text, audio).finish()
    assert [word for word, _ in words] == text.split()
    assert words[-1][1] <= len(audio) / RATE_HZ


def test_the_end_comes_once():
    times = followed("Hello there.", recording("speech"))
    assert times.finish() == times.finish()
    with pytest.raises(RuntimeError, match="finished"):
        times.feed(np.zeros(FRAME, np.float32))


@pytest.mark.parametrize("text", ["", " \n", "...", "Hello"])
def test_without_words_or_without_sound_nothing_breaks(text: str):
    times = WordTimes(text)
    assert times.words_until(1.0) == ""
    assert times.feed(np.zeros(0, np.float32)) == []
    assert [start for _, start in times.finish()] == [0.0] * len(text.split())
    assert times.voice == Voice()


TEXTS = st.lists(
    st.sampled_from(["so", "we", "strength,", "$12.50", "Dr.", "—", "😀", "U.S.", "no?", "\n"]),
    max_size=12,
).map(" ".join)
SOUNDS = st.lists(
    st.tuples(st.sampled_from(["tone", "hiss", "silence"]), st.integers(1, 12_000)), max_size=10
)


def sound(parts: list[tuple[str, int]]) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, 12_000)
    tone = 0.3 * np.sin(np.arange(12_000) * 0.05)
    kinds = {"tone": tone, "hiss": noise, "silence": np.zeros(12_000)}
    return np.concatenate([np.zeros(0), *(kinds[kind][:n] for kind, n in parts)])


@settings(deadline=None, max_examples=60)
@given(TEXTS, SOUNDS, st.integers(1, 5_000), st.sampled_from([0.0, 0.16]))
# Where the end shows that what was announced came too late.
@example("U.S. no? Dr.", [("hiss", 9_784), ("tone", 6_368)], FRAME, 0.16)
def test_whatever_is_heard_words_come_in_order_and_stay(
    text: str, parts: list[tuple[str, int]], size: int, lookahead_s: float
):
    audio = sound(parts)
    times = WordTimes(text, lookahead_s=lookahead_s)
    announced: list[tuple[str, float]] = []
    for frame in frames(audio, size):
        new = times.feed(frame)
        assert all(start <= times.duration_s for _, start in new)
        announced += new
        assert times.announced == len(announced)
    assert [word for word, _ in announced] == text.split()[: len(announced)]
    assert all(a <= b for (_, a), (_, b) in pairwise(announced))

    announced += times.rest()
    assert [word for word, _ in announced] == text.split()
    assert all(a <= b for (_, a), (_, b) in pairwise(announced))
    assert all(start <= times.duration_s for _, start in announced)

    words = times.finish()
    assert [word for word, _ in words] == text.split()
    assert all(a <= b for (_, a), (_, b) in pairwise(words))
    assert all(0 <= start <= times.duration_s for _, start in words)

    kept = [times.words_until(0.05 * i) for i in range(40)]
    assert all(b.startswith(a) for a, b in pairwise(kept))
    assert all(text.startswith(part) for part in kept)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 20_000), max_size=8))
def test_how_the_sound_is_parted_does_not_matter_in_the_end(sizes: list[int]):
    name, text, _ = PHRASES[0]
    audio, times, at = recording(name), WordTimes(text), 0
    for size in sizes:
        times.feed(audio[at : at + size])
        at += size
    times.feed(audio[at:])
    assert times.finish() == followed(text, audio).finish()
