"""A recording is heard in one go, or in pieces that let conversations go first."""

import asyncio
import threading

import numpy as np
import pytest
import soxr
from pipecat_whisper import WhisperEngine, WhisperEngineError

from agent.models import resolve
from agent.voices.hearing import listen, listen_in_company, pieces
from agent.voices.speech import SAMPLE_RATE_HZ, SpeechMap, map_speech
from agent.voices.words import compare
from tests.recordings import RATE_HZ, spoken


@pytest.fixture(scope="module")
def whisper():
    engine = WhisperEngine(resolve("tiny.en", "whisper"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def speech() -> SpeechMap:
    """Ada's reference twice, with a pause between: some 20 s."""
    once = soxr.resample(spoken()[0], RATE_HZ, SAMPLE_RATE_HZ).astype(np.float32)
    return map_speech(np.concatenate([once, np.zeros(SAMPLE_RATE_HZ // 2, np.float32), once]))


def test_in_pieces_the_same_words_are_heard(whisper, speech):
    text = f"{spoken()[1]} {spoken()[1]}"
    whole, parts = listen(whisper, speech), listen_in_company(whisper, speech)
    assert whole.is_speech
    assert parts.is_speech
    assert compare(text, whole.text).error_rate < 0.1
    assert compare(text, parts.text).error_rate < 0.1
    assert -1 < parts.avg_logprob < 0


def test_pieces_are_short_and_make_up_the_whole(speech):
    parts = pieces(speech)
    np.testing.assert_array_equal(np.concatenate(parts), speech.samples)
    lengths_s = [len(part) / SAMPLE_RATE_HZ for part in parts]
    assert len(parts) >= 3
    assert all(2 <= length_s <= 8 for length_s in lengths_s)


def test_pieces_are_cut_in_pauses(speech):
    ends = np.cumsum([len(part) for part in pieces(speech)])[:-1]
    around = SAMPLE_RATE_HZ // 20
    loudness = [np.abs(speech.samples[end - around : end + around]).max() for end in ends]
    assert max(loudness) < 0.1 * np.abs(speech.samples).max()


def test_what_is_short_stays_whole(speech):
    short = SpeechMap(speech.samples[: 7 * SAMPLE_RATE_HZ], speech.probabilities[:218])
    assert len(pieces(short)) == 1


def test_nobody_is_heard_in_silence(whisper):
    heard = listen_in_company(whisper, map_speech(np.zeros(4 * SAMPLE_RATE_HZ, np.float32)))
    assert not heard.is_speech
    assert heard.text == ""


async def test_a_callers_turn_waits_for_a_piece_at_most(whisper, speech):
    """The caller asks while the first piece is heard, and is answered before the last."""
    done: list[str] = []
    begun = threading.Event()
    decode = whisper._decoder.decode

    def counted(audio, **how):
        begun.set()
        return decode(audio, **how)

    whisper._decoder.decode = counted
    try:
        listening = asyncio.create_task(asyncio.to_thread(listen_in_company, whisper, speech))
        listening.add_done_callback(lambda _: done.append("recording"))
        await asyncio.to_thread(begun.wait, 30)
        await whisper.transcribe(speech.samples[: 2 * SAMPLE_RATE_HZ])
        done.append("caller")
        await listening
    finally:
        whisper._decoder.decode = decode
    assert done == ["caller", "recording"]


def test_an_engine_that_is_closed_is_said(speech):
    engine = WhisperEngine(resolve("tiny.en", "whisper"))
    engine.close()
    with pytest.raises(WhisperEngineError, match="closed"):
        listen_in_company(engine, speech)
