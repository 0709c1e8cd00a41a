"""Word starts are in order, inside the audio, one per word, and close to the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.embedded.kokoro import Kokoro
from agent.embedded.phonemes import Phonemizer
from agent.embedded.word_times import estimate_starts, starts_from_durations

RATE_HZ = 24_000
PHONEMES = st.lists(
    st.sampled_from(["", "ðə", "kˈæt,", "—", "sˈæt.", "lˈɪTᵊl", "ˈAʤd"]), max_size=12
)
AUDIO = st.lists(st.tuples(st.booleans(), st.integers(1, 4000)), max_size=8)


def tone(seconds: float) -> np.ndarray:
    return np.sin(np.arange(int(seconds * RATE_HZ)) * 0.1).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def test_durations_add_up_and_silence_belongs_to_no_word():
    owners = [-1, 0, 0, -1, 1, -1]
    durations = np.array([0.1, 0.2, 0.2, 0.3, 0.4, 0.1])
    assert starts_from_durations(owners, durations, 2) == pytest.approx([0.1, 0.8])


def test_a_word_that_is_not_spoken_starts_with_the_next_one():
    durations = np.array([0.5, 0.5])
    assert starts_from_durations([0, 2], durations, 4) == pytest.approx([0.0, 0.5, 0.5, 1.0])


def test_no_words_have_no_starts():
    assert starts_from_durations([], np.zeros(0), 0) == []
    assert estimate_starts([], silence(1.0), RATE_HZ) == []


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=30))
def test_starts_from_durations_never_decrease(symbols: list[tuple[bool, float]]):
    owners, word = [], -1
    for new_word, _ in symbols:
        word += new_word
        owners.append(word)
    durations = np.array([seconds for _, seconds in symbols])
    starts = starts_from_durations(owners, durations, word + 1)
    assert len(starts) == word + 1
    assert starts == sorted(starts)
    assert all(0 <= start <= durations.sum() + 1e-6 for start in starts)


def test_estimates_follow_a_pause():
    audio = np.concatenate([silence(0.2), tone(0.5), silence(0.4), tone(0.5)])
    starts = estimate_starts(["kˈæt,", "kˈæt"], audio, RATE_HZ)
    assert starts == pytest.approx([0.2, 1.1], abs=0.03)


def test_longer_words_take_longer():
    first, second, third = estimate_starts(["ɐ", "stɹˈAnʤəɹ", "wˈɛnt"], tone(1.0), RATE_HZ)
    assert third - second > 2 * (second - first)


@settings(deadline=None)
@given(PHONEMES, AUDIO)
def test_estimates_are_in_order_and_inside_the_audio(
    phonemes: list[str], parts: list[tuple[bool, int]]
):
    pieces = [tone(n / RATE_HZ) if loud else silence(n / RATE_HZ) for loud, n in parts]
    audio = np.concatenate([*pieces, silence(0)])
    starts = estimate_starts(phonemes, audio, RATE_HZ)
    assert len(starts) == len(phonemes)
    assert starts == sorted(starts)
    assert all(0 <= start <= len(audio) / RATE_HZ for start in starts)


def test_estimates_agree_with_the_models_own_durations(kokoro: Kokoro):
    text = "If the weather is nice, we could have a picnic."
    speech = kokoro.synthesize(text, "am_michael")
    phonemes = [word.phonemes for word in Phonemizer().words(text)]
    estimates = estimate_starts(phonemes, speech.audio, RATE_HZ)
    errors = [abs(start - true) for start, (_, true) in zip(estimates, speech.words, strict=True)]
    assert np.mean(errors) < 0.15
