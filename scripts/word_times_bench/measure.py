"""How far estimates are from the truth, and what that does to a cut."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray
from pipecat_csm.services.whisper_times import Listener, align_with_whisper
from pipecat_csm.services.word_times import Voice, WordTimes
from pipecat_whisper import WhisperEngine

from agent.models import resolve
from scripts.word_times_bench.speech import SAMPLE_RATE_HZ, Spoken

FRAME = 1_920
CUTS = 10
_LISTENER_HZ = 16_000
_AHEAD_S = 0.5


@dataclass
class Found:
    """What was measured of some sentences.

    Attributes:
        errors: Seconds between an estimated start and the true one, by way of estimating.
        cuts: Words too many (or, negative, too few) in a text that was cut at a random time.
        delays: How long after a word began it was announced.
        frame_s: What a frame took.
        finish_s: What the end of a sentence took.
        heard: How many words Whisper heard as they were written.
        words: How many there were.
    """

    errors: dict[str, list[float]] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    frame_s: list[float] = field(default_factory=list)
    finish_s: list[float] = field(default_factory=list)
    heard: int = 0
    words: int = 0


STREAMING = "while streaming"
AHEAD = "while streaming, 0.5 s made ahead"
FINISHED = "after the end"
CHECKED = "after the end, checked by Whisper"
WHISPER = "Whisper's own, of the words it heard"
LETTERS = "in proportion to the letters"
WAYS = (STREAMING, AHEAD, FINISHED, CHECKED, WHISPER, LETTERS)


def measure(spoken: Sequence[Spoken], delay_s: float, engine: Listener | None) -> Found:
    """Measures every sentence, each voice's one after another, as they would be said.

    Args:
        spoken: With the starts that Kokoro planned.
        delay_s: By how much those are late.
        engine: Hears words; None leaves it out.
    """
    found = Found()
    voices: dict[str, Voice] = {}
    dice = np.random.default_rng(0)
    for one in spoken:
        truth = np.maximum(one.starts - delay_s, 0.0)
        found.words += len(truth)
        times = WordTimes(one.text, voices.get(one.voice))
        estimate = _follow(times, one, truth, found)
        voices[one.voice] = times.voice
        letters = _by_letters(one)
        _add(found, FINISHED, [start_s for _, start_s in estimate] - truth)
        _add(found, LETTERS, letters - truth)
        cuts_s = dice.uniform(0.0, one.duration_s, CUTS)
        for heard_s in cuts_s:
            _cut(found, FINISHED, times.words_until(heard_s), truth, heard_s)
            for way, ahead_s in ((AHEAD, _AHEAD_S), (STREAMING, 0.0)):
                text = _cut_now(one, heard_s, ahead_s, voices[one.voice])
                _cut(found, way, text, truth, heard_s)
            words = one.text.split()[: int(np.sum(letters < heard_s))]
            _cut(found, LETTERS, " ".join(words), truth, heard_s)
        if engine is not None:
            asyncio.run(_listen(found, one, truth, estimate, engine))
    return found


def load_whisper() -> WhisperEngine:
    """Whisper tiny.en."""
    return WhisperEngine(resolve("tiny.en", "whisper"))


def _follow(
    times: WordTimes, one: Spoken, truth: NDArray[np.floating], found: Found
) -> list[tuple[str, float]]:
    announced: list[tuple[str, float]] = []
    delays: list[float] = []
    for at in range(0, len(one.audio), FRAME):
        began = time.perf_counter()
        announced += times.feed(one.audio[at : at + FRAME])
        found.frame_s.append(time.perf_counter() - began)
        delays += [times.duration_s] * (len(announced) - len(delays))
    began = time.perf_counter()
    estimate = times.finish()
    found.finish_s.append(time.perf_counter() - began)
    # What the end came before is announced then.
    announced += estimate[len(announced) :]
    starts = np.maximum.accumulate([start_s for _, start_s in announced])
    _add(found, STREAMING, starts - truth)
    found.delays += list(delays - truth[: len(delays)])
    return estimate


def _cut_now(one: Spoken, heard_s: float, ahead_s: float, voice: Voice) -> str:
    """The words of a sentence of which hardly more was made than had been heard."""
    times = WordTimes(one.text, voice)
    for at in range(0, int((heard_s + ahead_s) * SAMPLE_RATE_HZ) + 1, FRAME):
        times.feed(one.audio[at : at + FRAME])
    return times.words_until(heard_s)


async def _listen(
    found: Found,
    one: Spoken,
    truth: NDArray[np.floating],
    estimate: list[tuple[str, float]],
    engine: Listener,
) -> None:
    heard = await engine.words(soxr.resample(one.audio, SAMPLE_RATE_HZ, _LISTENER_HZ))
    written = [_bare(word) for word in one.text.split()]
    # As it is in the sentences, words that are not heard as written are replaced, one for one.
    if len(heard) == len(written):
        same = [i for i, (word, _) in enumerate(heard) if _bare(word) == written[i]]
        _add(found, WHISPER, np.array([heard[i][1] for i in same]) - truth[same])
        found.heard += len(same)
    checked = await align_with_whisper(one.audio, one.text, _Heard(heard), estimate=estimate)
    _add(found, CHECKED, [start_s for _, start_s in checked] - truth)


class _Heard:
    """Hears what was heard before."""

    def __init__(self, words: Sequence[tuple[str, float]]) -> None:
        self._words = words

    async def words(self, audio: NDArray[np.float32], /) -> Sequence[tuple[str, float]]:
        return self._words


def _by_letters(one: Spoken) -> NDArray[np.floating]:
    letters = np.array([len(word) for word in one.text.split()])
    return (np.cumsum(letters) - letters) / letters.sum() * one.duration_s


def _add(found: Found, way: str, errors: NDArray[np.floating]) -> None:
    found.errors.setdefault(way, []).extend(np.abs(errors))


def _cut(found: Found, way: str, text: str, truth: NDArray[np.floating], heard_s: float) -> None:
    found.cuts.setdefault(way, []).append(len(text.split()) - int(np.sum(truth < heard_s)))


def _bare(word: str) -> str:
    return "".join(char for char in word.lower() if char.isalnum())
