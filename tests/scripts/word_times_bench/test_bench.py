"""What the bench reports is what it was given."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipecat_csm.services.sounds import SOUNDS
from pipecat_csm.services.word_times import WordTimes

from scripts.word_times_bench.fit import fit
from scripts.word_times_bench.measure import (
    AHEAD,
    CHECKED,
    FINISHED,
    LETTERS,
    STREAMING,
    WHISPER,
    measure,
)
from scripts.word_times_bench.speech import Spoken, keep, kept, label_delays, sentences
from scripts.word_times_bench.tables import figures, tables
from tests.plugins.pipecat_csm.services.recordings import PHRASES, RATE_HZ, recording

LATE_S = 0.045


def spoken(name: str, text: str) -> Spoken:
    """A recording whose word times are, as it were, those that are estimated."""
    times = WordTimes(text)
    times.feed(recording(name))
    starts = np.array([start_s for _, start_s in times.finish()])
    return Spoken(text, name, tuned=False, audio=recording(name), starts=starts + LATE_S)


@pytest.fixture(scope="module")
def speech() -> list[Spoken]:
    return [spoken(name, text) for name, text, _ in PHRASES]


class Listener:
    """Hears every word of a recording a little late."""

    def __init__(self, speech: Sequence[Spoken]) -> None:
        self._speech = {round(one.duration_s, 2): one for one in speech}

    async def words(self, audio: np.ndarray) -> list[tuple[str, float]]:
        one = self._speech[round(len(audio) / 16_000, 2)]
        return [(word, start) for word, start in zip(one.text.split(), one.starts, strict=True)]


def test_errors_and_cuts_are_counted_from_the_truth(speech: list[Spoken]):
    report = figures(measure(speech, LATE_S, Listener(speech)))
    ways = report["ways"]
    assert report["words"] == report["whisper_heard"] == 24
    assert ways[FINISHED] == {
        "mean_ms": 0, "median_ms": 0, "p95_ms": 0, "cuts_exact": 1.0, "cuts_one_off": 0.0
    }  # fmt: skip
    assert ways[CHECKED]["p95_ms"] == 0
    assert ways[WHISPER]["mean_ms"] == pytest.approx(1e3 * LATE_S, abs=0.1)
    assert ways[STREAMING]["median_ms"] < ways[LETTERS]["median_ms"]
    assert ways[LETTERS]["cuts_exact"] < ways[STREAMING]["cuts_exact"] <= ways[AHEAD]["cuts_exact"]
    assert 100 < report["announced_after_ms"]["mean"] < 500


def test_a_truth_that_is_elsewhere_is_an_error(speech: list[Spoken]):
    moved = [replace(one, starts=one.starts + 0.1) for one in speech]
    report = figures(measure(moved, LATE_S, None))
    assert report["ways"][FINISHED]["mean_ms"] == pytest.approx(100, abs=0.1)
    assert report["ways"][FINISHED]["cuts_exact"] < 0.9
    assert WHISPER not in report["ways"]


def test_the_report_is_a_table(speech: list[Spoken]):
    part = figures(measure(speech, LATE_S, None))
    report = {
        "machine": "this one", "voices": ["a", "b"], "sentences": 2, "plan_late_ms": 45.0,
        "onsets": 2, "parts": {"held out": part},
    }  # fmt: skip
    text = tables(report)
    assert f"| {FINISHED} | 0 ms | 0 ms | 0 ms | 100.0 % | 0.0 % |" in text
    assert f"| {AHEAD} |  |  |  | " in text
    assert "held out (24 words)" in text


def test_a_plan_that_is_late_is_found_out():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    silence = np.zeros(RATE_HZ // 4, np.float32)
    audio = np.concatenate([silence, noise, silence, noise, noise])
    starts = np.array([0.25, 0.6, 1.5, 2.5]) + LATE_S
    one = Spoken("One, two. three four", "noise", False, audio, starts)
    assert label_delays([one]) == pytest.approx([LATE_S], abs=0.006)


def test_speech_can_be_kept(speech: list[Spoken], tmp_path: Path):
    path = tmp_path / "speech.npz"
    keep(path, speech)
    for one, again in zip(speech, kept(path), strict=True):
        assert (one.text, one.voice, one.tuned) == (again.text, again.voice, again.tuned)
        assert np.array_equal(one.starts, again.starts)
        assert one.audio == pytest.approx(again.audio, abs=1e-3)


def test_there_are_sentences_enough_and_each_but_once():
    texts = sentences()
    assert len(texts) == len(set(texts)) >= 60
    assert all(text == " ".join(text.split()) for text in texts)


def test_a_fit_finds_what_is_plain_to_hear(speech: list[Spoken]):
    table = fit(speech, LATE_S)
    pause, hiss, vowel = table.loud_db[-1], table.loud_db[SOUNDS.index("s")], table.loud_db[0]
    assert np.all(vowel[:3] > pause[:3] + 10)
    assert hiss[3] > vowel[3] + 5
    assert hiss[0] < vowel[0] - 20
    assert np.all((table.lasts_s > 0.02) & (table.lasts_s < 0.2))
