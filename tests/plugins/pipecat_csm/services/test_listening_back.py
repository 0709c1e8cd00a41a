"""A cut falls where a listener has heard the words, if CSM said them elsewhere than expected."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from pipecat_csm.services.listening_back import ListeningBack
from pipecat_csm.services.word_times import WordTimes

TEXT = "One two three four five six."
FRAMES = [np.zeros(1920, np.float32)] * 50  # 4 s


class Listener:
    """Hears every word late, or as long as it is held nothing at all."""

    def __init__(self, late_s: float = 1.5) -> None:
        self.late_s, self.heard, self.at_once, self._now = late_s, 0, 0, 0
        self.may_hear = asyncio.Event()
        self.may_hear.set()
        self.estimate: list[tuple[str, float]] = []

    async def words(self, audio: np.ndarray) -> Sequence[tuple[str, float]]:
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        await self.may_hear.wait()
        self._now -= 1
        self.heard += 1
        return [(word, start_s + self.late_s + 0.05) for word, start_s in self.estimate]


def finished(listener: Listener) -> WordTimes:
    words = WordTimes(TEXT)
    for frame in FRAMES:
        words.feed(frame)
    listener.estimate = words.finish()
    return words


async def until_heard(listener: Listener, sentences: int) -> None:
    for _ in range(200):
        await asyncio.sleep(0.01)
        if listener.heard == sentences:
            return
    raise AssertionError(f"{listener.heard} were heard")


async def test_words_begin_where_they_were_heard():
    listener = Listener()
    words, back = finished(listener), ListeningBack(listener)
    (_, third_s), (_, fourth_s) = listener.estimate[2:4]
    in_third_s = (third_s + fourth_s) / 2
    assert words.words_until(in_third_s) == "One two three"
    back.hear(TEXT, FRAMES, words)
    await until_heard(listener, 1)
    await asyncio.sleep(0.05)
    assert words.words_until(in_third_s + 1.5) == "One two three"


async def test_one_sentence_is_heard_at_a_time_and_few_wait():
    listener = Listener()
    listener.may_hear.clear()
    back = ListeningBack(listener, most_waiting=3)
    for _ in range(10):
        back.hear(TEXT, FRAMES, finished(listener))
    await asyncio.sleep(0.05)
    listener.may_hear.set()
    await until_heard(listener, 3)
    await asyncio.sleep(0.05)
    assert (listener.heard, listener.at_once) == (3, 1)


@pytest.mark.parametrize("fault", [RuntimeError("it hears nothing"), ValueError("odd")])
async def test_a_listener_who_fails_leaves_the_estimate(fault, monkeypatch):
    listener = Listener()
    words, back = finished(listener), ListeningBack(listener)
    before = [words.words_until(0.1 * i) for i in range(40)]

    async def fail(audio: np.ndarray) -> Sequence[tuple[str, float]]:
        raise fault

    monkeypatch.setattr(listener, "words", fail)
    back.hear(TEXT, FRAMES, words)
    await asyncio.sleep(0.1)
    assert [words.words_until(0.1 * i) for i in range(40)] == before


async def test_closing_ends_it_and_silence_is_not_listened_to():
    listener = Listener()
    listener.may_hear.clear()
    back = ListeningBack(listener)
    back.hear(TEXT, [], finished(listener))
    back.hear(TEXT, FRAMES, finished(listener))
    await asyncio.sleep(0.05)
    await back.close()
    await back.close()
    assert listener.heard == 0
