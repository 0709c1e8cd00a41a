"""The real voice: intelligible, trimmed, timed, shared fairly, and clear about what is wrong."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from agent.embedded.kokoro import Kokoro
from agent.embedded.kokoro_model import KokoroError
from tests.hearing import hear, word_errors

RATE_HZ = 24_000
SENTENCE = "The old bridge was closed in winter, so everyone walked along the river."


@pytest.mark.parametrize("voice", ["af_heart", "bm_george"])
def test_whisper_hears_what_was_said(kokoro: Kokoro, voice: str):
    speech = kokoro.synthesize(SENTENCE, voice)
    assert word_errors(hear(speech.audio, RATE_HZ), SENTENCE) <= 0.1


def test_the_voices_that_ship(kokoro: Kokoro):
    assert kokoro.voices == ("af_heart", "am_michael", "bf_emma", "bm_george")


def test_speech_begins_at_once_and_ends_in_a_pause(kokoro: Kokoro):
    audio = kokoro.synthesize("Good morning.", "af_heart").audio
    assert audio.dtype == np.float32
    loud = np.flatnonzero(np.abs(audio) > 0.02) / RATE_HZ
    assert loud[0] < 0.1
    assert 0.2 < len(audio) / RATE_HZ - loud[-1] < 0.6


def test_every_word_of_the_text_is_timed_in_order(kokoro: Kokoro):
    text = "“Hello” 😀 there — this is 日本, and it goes on: one, two, three!"
    speech = kokoro.synthesize(text, "af_heart")
    starts = [start for _, start in speech.words]
    assert [word for word, _ in speech.words] == text.split()
    assert starts == sorted(starts)
    assert starts[-1] < speech.duration_s


def test_word_times_are_where_the_words_are(kokoro: Kokoro):
    speech = kokoro.synthesize("Bananas and oranges. Seventeen elephants.", "am_michael")
    starts = dict(speech.words)
    cut = int((starts["Seventeen"] - 0.05) * RATE_HZ)
    assert word_errors(hear(speech.audio[:cut], RATE_HZ), "Bananas and oranges.") == 0
    assert word_errors(hear(speech.audio[cut:], RATE_HZ), "17 elephants") == 0


def test_speed_changes_the_length(kokoro: Kokoro):
    slow, fast = (kokoro.synthesize("Take your time.", "af_heart", s) for s in (0.7, 1.5))
    assert slow.duration_s > 1.5 * fast.duration_s


@pytest.mark.parametrize("text", ["", "  \n", "\0", "😀", "... !? —", "日本語"])
def test_what_cannot_be_said_is_silent(kokoro: Kokoro, text: str):
    speech = kokoro.synthesize(text, "af_heart")
    assert len(speech.audio) == 0
    assert [word for word, _ in speech.words] == text.split()


def test_a_word_longer_than_the_model_takes_is_spoken_in_parts(kokoro: Kokoro):
    speech = kokoro.synthesize("9" * 40 + " end", "am_michael", 2.0)
    assert speech.duration_s > 5
    assert [word for word, _ in speech.words] == ["9" * 40, "end"]
    assert speech.words[1][1] > speech.duration_s - 1.5


def test_an_unknown_voice_is_refused_with_the_ones_there_are(kokoro: Kokoro):
    with pytest.raises(KokoroError, match="no voice 'zz_top'; choose one of af_heart, am_michael"):
        kokoro.synthesize("Hello.", "zz_top")


def test_a_missing_model_is_named(tmp_path: Path):
    with pytest.raises(KokoroError, match=r"There is no Kokoro model at .*absent.onnx; fetch it"):
        Kokoro(tmp_path / "absent.onnx")


def test_half_a_model_is_refused_in_one_sentence(tmp_path: Path, kokoro_path: Path):
    half = tmp_path / "half.onnx"
    with kokoro_path.open("rb") as whole:
        half.write_bytes(whole.read(1_000_000))
    with pytest.raises(KokoroError, match=r"half.onnx is not a Kokoro ONNX model .* fetch it"):
        Kokoro(half)


def test_a_broken_voice_is_refused(tmp_path: Path, kokoro_path: Path):
    (tmp_path / "af_short.bin").write_bytes(b"\0" * 100)
    with pytest.raises(KokoroError, match=r"af_short.bin is not a Kokoro voice"):
        Kokoro(kokoro_path, voices_dir=tmp_path)


def test_an_export_that_hides_its_durations_is_timed_by_estimate(
    tmp_path: Path, kokoro_path: Path, kokoro: Kokoro
):
    other = tmp_path / "other.onnx"
    other.write_bytes(kokoro_path.read_bytes().replace(b"/encoder/Clip_", b"/encoder/Clop_"))
    second = Kokoro(other)
    text = "If it rains tomorrow, we will stay at home."
    estimated = second.synthesize(text, "af_heart")
    second.close()
    exact = kokoro.synthesize(text, "af_heart")
    assert [word for word, _ in estimated.words] == text.split()
    pairs = zip(estimated.words, exact.words, strict=True)
    assert np.mean([abs(a - b) for (_, a), (_, b) in pairs]) < 0.2


async def test_the_first_clause_comes_before_the_rest_is_made(kokoro: Kokoro):
    pieces = [piece async for piece in kokoro.stream(SENTENCE, "af_heart")]
    words = [[word for word, _ in piece.words] for piece in pieces]
    assert words[0] == ["The", "old", "bridge", "was", "closed", "in", "winter,"]
    assert [word for piece in words for word in piece] == SENTENCE.split()


async def test_callers_take_turns_piece_by_piece(kokoro: Kokoro):
    order: list[str] = []

    async def caller(name: str, text: str) -> None:
        async for speech in kokoro.stream(text, "af_heart", 2.0):
            assert len(speech.audio)
            order.append(name)

    long = "One two three, four five six, seven eight nine."
    await asyncio.gather(caller("a", long), caller("b", long), caller("c", "Me too."))
    assert order[:3] == ["a", "b", "c"]
    assert order[3:5] == ["a", "b"]


async def test_a_cancelled_caller_leaves_the_queue(kokoro: Kokoro):
    long = "One two three, four five six, " * 10
    running = asyncio.create_task(kokoro.speak(long, "af_heart"))
    waiting = asyncio.create_task(kokoro.speak(long, "af_heart"))
    last = asyncio.create_task(kokoro.speak("Me too.", "af_heart"))
    await asyncio.sleep(0.1)
    running.cancel()
    waiting.cancel()
    results = await asyncio.gather(running, waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert (await last).duration_s > 0.3


async def test_a_cancelled_run_is_ended_within_the_model(
    kokoro: Kokoro, monkeypatch: pytest.MonkeyPatch
):
    loop, started, ends = asyncio.get_running_loop(), asyncio.Event(), list[str]()
    run = kokoro._model.run

    def watched(*args):
        loop.call_soon_threadsafe(started.set)
        try:
            result = run(*args)
        except KokoroError as error:
            ends.append(str(error))
            raise
        ends.append("finished")
        return result

    monkeypatch.setattr(kokoro._model, "run", watched)
    clause = "a long clause without any place at which it could be cut into two of half its length"
    task = asyncio.create_task(kokoro.speak(clause, "af_heart"))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kokoro.speak("Next.", "af_heart")
    assert "terminate" in ends[0]
    assert ends[1:] == ["finished"]


async def test_the_event_loop_runs_on_while_the_voice_works(kokoro: Kokoro):
    task = asyncio.create_task(kokoro.speak(SENTENCE, "af_heart"))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 8


async def test_too_many_callers_are_refused_and_the_rest_are_served(kokoro_path: Path):
    small = Kokoro(kokoro_path, max_waiting=2)
    results = await asyncio.gather(
        *(small.speak("Hello.", "af_heart") for _ in range(4)), return_exceptions=True
    )
    small.close()
    refused = [result for result in results if isinstance(result, KokoroError)]
    assert len(refused) == 2
    assert "overloaded" in str(refused[0])


def test_a_closed_voice_says_so(kokoro_path: Path):
    closed = Kokoro(kokoro_path)
    closed.close()
    closed.close()
    with pytest.raises(KokoroError, match="has been closed"):
        closed.synthesize("Hello.", "af_heart")
