"""Voices and blends of voices."""

from pathlib import Path

import numpy as np
import pytest

import agent.embedded
from agent.embedded.kokoro import Kokoro
from agent.embedded.kokoro_model import KokoroError
from agent.embedded.styles import Styles
from tests.hearing import hear, word_errors

VOICES = Path(agent.embedded.__file__).parent / "voices"
SENTENCE = "The old bridge was closed in winter, so everyone walked along the river."


@pytest.fixture(scope="module")
def styles() -> Styles:
    return Styles(VOICES)


def test_a_blend_lies_between_its_voices_by_its_shares(styles: Styles):
    blend = styles.style("af_heart:75, bm_george:25")
    heart, george = styles.style("af_heart"), styles.style("bm_george")
    np.testing.assert_allclose(blend, 0.75 * heart + 0.25 * george, atol=1e-6)
    assert blend.dtype == np.float32


def test_shares_need_not_make_a_hundred_and_may_be_left_out(styles: Styles):
    half = styles.style("af_heart:50,bm_george:50")
    np.testing.assert_allclose(styles.style("af_heart:2,bm_george:2"), half, atol=1e-6)
    np.testing.assert_allclose(styles.style("af_heart,bm_george"), half, atol=1e-6)


@pytest.mark.parametrize(
    ("voice", "accent"),
    [
        ("af_heart", "american"),
        ("bf_emma", "british"),
        ("af_heart:60,bf_emma:40", "american"),
        ("af_heart:40,bf_emma:60", "british"),
    ],
)
def test_a_blend_has_the_accent_of_its_largest_part(styles: Styles, voice, accent):
    assert styles.accent(voice) == accent


@pytest.mark.parametrize(
    ("voice", "sentence"),
    [
        ("zz_top", "There is no voice 'zz_top'; choose one of af_heart"),
        ("af_heart:50,zz_top:50", "There is no voice 'zz_top'"),
        ("", "There is no voice ''"),
        ("af_heart:0,bf_emma:1", "is no blend of voices; write it as af_heart:70,bm_george:30"),
        ("af_heart:-1,bf_emma:1", "is no blend"),
        ("af_heart:x,bf_emma:1", "is no blend"),
        ("af_heart:,bf_emma", "is no blend"),
        ("af_heart:1,af_heart:1", "is no blend"),
    ],
)
def test_what_is_no_voice_is_refused_in_a_sentence(styles: Styles, voice, sentence):
    with pytest.raises(KokoroError, match=sentence):
        styles.style(voice)


@pytest.mark.parametrize("voice", ["af_heart:50,am_michael:50", "bm_george:60,bf_emma:40"])
def test_whisper_understands_a_blend(kokoro: Kokoro, voice: str):
    speech = kokoro.synthesize(SENTENCE, voice)
    assert word_errors(hear(speech.audio, 24_000), SENTENCE) <= 0.1
