"""Which texts are believed."""

from dataclasses import replace

import pytest
from pipecat_whisper import Transcript

SAID = Transcript(
    text="Can you hear me?",
    language="en",
    no_speech_prob=0.05,
    avg_logprob=-0.2,
    compression_ratio=0.9,
    truncated=False,
    heard_s=1.0,
    duration_s=1.0,
    window_s=10.0,
    decode_s=0.1,
)


def test_words_that_the_model_is_sure_of_are_speech():
    assert SAID.is_speech()
    assert SAID.is_sound


@pytest.mark.parametrize("text", ["", " ", ".", ". . . .", "♪"])
def test_a_text_without_words_is_no_speech(text: str):
    assert not replace(SAID, text=text).is_speech()


def test_silence_takes_two_witnesses():
    assert replace(SAID, no_speech_prob=0.9).is_speech()
    assert replace(SAID, avg_logprob=-1.5).is_speech()
    assert not replace(SAID, no_speech_prob=0.9, avg_logprob=-1.5).is_speech()


def test_the_thresholds_are_the_callers():
    unsure = replace(SAID, no_speech_prob=0.5, avg_logprob=-0.8)
    assert unsure.is_speech()
    assert not unsure.is_speech(no_speech_prob=0.4, min_avg_logprob=-0.7)


def test_what_whisper_writes_over_silence_needs_a_voice():
    assert replace(SAID, text="Thank you.").is_speech()
    assert not replace(SAID, text="Thank you.", no_speech_prob=0.4).is_speech()
    assert replace(SAID, text="Thank you, Ada.", no_speech_prob=0.4).is_speech()


@pytest.mark.parametrize(
    "accident", [{"compression_ratio": 3.0}, {"avg_logprob": -1.2}, {"truncated": True}]
)
def test_a_loop_a_guess_and_half_a_text_are_accidents(accident: dict):
    assert not replace(SAID, **accident).is_sound
