"""What the turns come to."""

from dataclasses import replace

import numpy as np
import pytest

from scripts.voice_evaluation.figures import Row, overall

ROW = Row(
    turn=1, text="One two.", heard="One too.", seconds=2.0, rtf=0.5, similarity=0.8, nearest="max",
    nearest_similarity=0.6, right_voice=True, words=2, word_errors=1, quality=4.0, runaway=None,
)  # fmt: skip
NORTH, EAST = np.array([0, 1], np.float32), np.array([1, 0], np.float32)


def rows(*similarities: float) -> list[Row]:
    return [replace(ROW, turn=i, similarity=s) for i, s in enumerate(similarities, 1)]


def test_drift_is_the_last_quarter_less_the_first():
    found = overall(
        rows(0.9, 0.8, 0, 0, 0, 0, 0.5, 0.6), [NORTH] * 4 + [EAST] * 4, 8.0, watched=True
    )
    assert found["edge_turns"] == 2
    assert found["similarity_first"] == pytest.approx(0.85)
    assert found["similarity_last"] == pytest.approx(0.55)
    assert found["drift"] == pytest.approx(-0.3)
    assert found["first_to_last"] == 0, "the voices of the first two and the last two"
    assert found["similarity_lowest"] == 0


def test_seconds_and_words_count_not_turns():
    short = replace(ROW, seconds=1.0, words=2, word_errors=2)
    long = replace(ROW, seconds=9.0, words=18, word_errors=0)
    found = overall([short, long], [NORTH, NORTH], 5.0, watched=True)
    assert (found["seconds"], found["rtf"]) == (10.0, 0.5)
    assert found["wer"] == 0.1


def test_the_rates_are_shares_of_the_turns():
    wrong = replace(ROW, right_voice=False, nearest="nova", runaway="silence after the speech")
    found = overall([ROW, ROW, ROW, wrong], [NORTH] * 4, 1.0, watched=True)
    assert found["right_voice_rate"] == 0.75
    assert found["runaway_rate"] == 0.25
    assert found["nearest"] == "max"


def test_a_voice_that_is_not_watched_has_no_rate_of_run_aways():
    assert overall([ROW], [NORTH], 1.0, watched=False)["runaway_rate"] is None


def test_a_reply_without_a_sound_is_all_wrong_and_goes_without_the_rest():
    silent = Row(2, "One two.", "", 0.0, None, None, None, None, None, 2, 2, None, "no speech")
    assert silent.wer == 1
    found = overall([ROW, silent], [NORTH, None], 1.0, watched=True)
    assert found["similarity"] == ROW.similarity
    assert found["wer"] == 0.75
    assert found["drift"] is None
    nothing = overall([silent], [None], 1.0, watched=True)
    assert nothing["rtf"] is nothing["similarity"] is nothing["nearest"] is None
    assert nothing["runaway_rate"] == 1
