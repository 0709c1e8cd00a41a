"""Sentences that begin as one and go on as another, of the frames of both."""

from dataclasses import replace

import numpy as np
import pytest

from scripts.mini_training.codec.codes import Rendering
from scripts.mini_training.data.corpus import Utterance
from scripts.mini_training.data.splits import is_held_out
from scripts.mini_training.speech.alignment import letters_spoken
from scripts.mini_training.speech.crossing import Crossings, Spoken, crossed

WORD_MS = 160


def spoken(text: str, first_code: int, shift_ms: float = 0.0, lead_ms: int = 0) -> Spoken:
    """Words of two frames each, whose codes count up from a number."""
    words = text.split()
    starts = [lead_ms + WORD_MS * index for index in range(len(words))]
    one = Utterance(
        text, "ada", 1.0, 0, 0, 0, "", (), tuple((start, start + WORD_MS) for start in starts)
    )
    frames = -(-round(starts[-1] + WORD_MS + shift_ms) // 80)
    codes = first_code + np.arange(frames)[:, None].repeat(2, axis=1)
    return one, Rendering(codes.astype(np.uint16), shift_ms)


def test_the_frames_change_in_the_middle_of_the_word_that_both_have():
    first, second = spoken("I see two dogs.", 100), spoken("They bring you two red cups.", 200)
    found = crossed(first, 2, second, 3)
    assert found is not None
    one, rendering = found
    assert one.text == "I see two red cups."
    assert rendering.codes[:, 0].tolist() == [100, 101, 102, 103, 104, 207, 208, 209, 210, 211]
    assert one.words_ms == tuple((WORD_MS * n, WORD_MS * (n + 1)) for n in range(5))


@pytest.mark.parametrize(("shift_ms", "lead_ms"), [(80.0, 0), (0.0, 80), (40.0, 40), (95.0, 65)])
def test_words_stay_where_their_frames_are_however_both_were_shifted(shift_ms, lead_ms):
    first = spoken("I see two dogs.", 100, shift_ms=40.0, lead_ms=40)
    second = spoken("They bring you two red cups.", 200, shift_ms, lead_ms)
    found = crossed(first, 2, second, 3)
    assert found is not None
    one, rendering = found
    letters = letters_spoken(one, rendering.shift_ms, len(rendering.codes))
    cups = [int(code) for code in rendering.codes[letters >= one.text.index("cups"), 0]]
    its_own = letters_spoken(second[0], shift_ms, len(second[1].codes))
    assert cups == second[1].codes[its_own >= second[0].text.index("cups"), 0].tolist()


def test_frames_that_do_not_fit_are_not_joined():
    first = spoken("I see two dogs.", 100)
    assert crossed(first, 2, spoken("They bring you two red cups.", 200, shift_ms=40.0), 3) is None
    assert crossed(first, 2, spoken("They bring you two red cups.", 200, shift_ms=20.0), 3)


def test_what_is_only_listened_to_and_what_is_too_long_does_not_arise():
    words = ("two", "red", "cups", "dogs", "here", "now", "green", "old", "new", "warm", "fresh")
    held_out = next(
        f"I see {a} {b} {c}."
        for a in words
        for b in words
        for c in words
        if is_held_out(f"I see {a} {b} {c}.")
    )
    begins, ends = held_out.split()[:3], held_out.split()[2:]
    first = spoken(" ".join([*begins, "dogs", "now."]), 100)
    assert crossed(first, 2, spoken(" ".join(["You", "like", *ends]), 200), 2) is None
    long = spoken("They bring you two " + "red " * 12 + "cups.", 200)
    assert crossed(spoken("I see two dogs.", 100), 2, long, 3) is None


def test_one_that_fits_is_drawn_and_where_none_does_the_sentence_stays():
    first = spoken("I see two dogs.", 100)
    other = spoken("They bring you two red cups.", 200)
    crossings = Crossings([(one, [rendering]) for one, rendering in (first, other)])
    rng = np.random.default_rng(0)
    texts = {crossings.draw(rng, first)[0].text for _ in range(40)}
    assert texts == {"I see two dogs.", "I see two red cups."}
    lonely = replace(first[0], text="No other says these."), first[1]
    assert crossings.draw(rng, lonely) is lonely
    short = spoken("Yes.", 300)
    assert crossings.draw(rng, short) is short
