"""Short windows hear what the full one hears, and the full one catches their accidents."""

from pathlib import Path

import numpy as np
import pytest
from faster_whisper import WhisperModel
from pipecat_whisper import Transcript
from pipecat_whisper.decoder import Decoder

from tests.plugins.pipecat_whisper.speech import MARKET, QUESTION, bare, cough, hiss, load, silence


@pytest.fixture(scope="module")
def whisper(model: Path) -> WhisperModel:
    return WhisperModel(str(model), device="cpu", compute_type="int8")


@pytest.fixture
def decoder(whisper: WhisperModel) -> Decoder:
    return Decoder(whisper, beam_size=1, min_window_s=10.0)


def decode(decoder: Decoder, audio: np.ndarray, *, retry: bool = True) -> Transcript:
    return decoder.decode(audio, language="en", prompt=None, hotwords=None, retry=retry)


@pytest.mark.parametrize(("name", "words"), [("question", QUESTION), ("speech_michael", MARKET)])
def test_a_short_window_hears_a_sentence(decoder: Decoder, name: str, words: str):
    transcript = decode(decoder, load(name))
    assert bare(transcript.text) == words
    assert transcript.window_s == 10.0
    assert transcript.is_sound
    assert transcript.is_speech()


def test_the_window_grows_with_the_speech(decoder: Decoder):
    long = np.concatenate([load("remark"), silence(0.3), load("question"), silence(3)])
    transcript = decode(decoder, long, retry=False)
    assert transcript.window_s == pytest.approx(len(long) / 16_000 + 3.0)
    assert transcript.is_sound
    assert "bread and apples" in bare(transcript.text)
    assert bare(transcript.text).endswith(QUESTION)


def test_a_text_that_ends_before_the_speech_does_is_completed(decoder: Decoder):
    # Of these three sentences tiny.en writes only the first.
    three = np.concatenate([load("question"), load("speech_michael"), load("speech_michael")])
    first = decode(decoder, three, retry=False)
    assert bare(first.text) == QUESTION
    assert not first.is_sound
    assert first.heard_s == pytest.approx(2.56, abs=0.3)
    whole = decode(decoder, three)
    assert whole.is_sound
    assert bare(whole.text).startswith(f"{QUESTION} i went to the market")
    assert bare(whole.text).endswith("bread and apples")
    assert whole.duration_s == pytest.approx(len(three) / 16_000)


def test_an_accident_is_decoded_again_in_the_full_window(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
):
    # A window without padding makes tiny.en repeat itself.
    monkeypatch.setattr("pipecat_whisper.decoder._END_S", 0.0)
    monkeypatch.setattr(decoder, "_min_window_s", 0.0)
    audio = load("question")[:-1600]
    looped = decode(decoder, audio, retry=False)
    assert not looped.is_sound
    again = decode(decoder, audio, retry=True)
    assert again.window_s == 30.0
    assert bare(again.text) == QUESTION


def test_more_than_thirty_seconds_are_decoded_whole(decoder: Decoder):
    pieces = [load("question"), silence(26), load("speech_michael")]
    text = bare(decode(decoder, np.concatenate(pieces)).text)
    assert "capital of france" in text
    assert "bread and apples" in text


def test_the_language_of_an_english_model_needs_no_detection(decoder: Decoder):
    transcript = decoder.decode(
        load("question"), language=None, prompt=None, hotwords=None, retry=True
    )
    assert transcript.language == "en"


def test_hotwords_and_a_prompt_leave_the_words_alone(decoder: Decoder):
    transcript = decoder.decode(
        load("remark"), language="en", prompt="Good morning.", hotwords="apples", retry=True
    )
    assert "bread and apples" in bare(transcript.text)


@pytest.mark.parametrize(
    "noise",
    [silence(0), silence(1.5), hiss(1.5, 0.01), hiss(1.5, 0.1), cough()],
    ids=["nothing", "silence", "hiss", "loud hiss", "cough"],
)
def test_noises_are_no_speech(decoder: Decoder, noise: np.ndarray):
    assert not decode(decoder, noise).is_speech()
