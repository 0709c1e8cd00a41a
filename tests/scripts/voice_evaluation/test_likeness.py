"""Voices are told apart."""

import numpy as np
import pytest

from scripts.voice_evaluation.judges import for_judges
from scripts.voice_evaluation.likeness import Choir, Ear, Voice
from tests.recordings import noise, silence, spoken


@pytest.fixture(scope="module")
def ear() -> Ear:
    return Ear()


@pytest.fixture(scope="module")
def voices(ear: Ear) -> dict[str, Voice]:
    found = {name: ear.voice(for_judges(spoken(name)[0])) for name in ("ada", "max", "onyx")}
    return {name: voice for name, voice in found.items() if voice is not None}


def test_the_same_voice_is_nearer_than_another(ear: Ear, voices: dict[str, Voice]):
    choir = Choir(voices["ada"], {"max": voices["max"], "onyx": voices["onyx"]})
    half = ear.voice(for_judges(spoken("ada")[0][: 3 * 24_000]))
    assert half is not None
    likeness = choir.likeness(half)
    assert likeness.is_right
    assert likeness.reference > 0.85 > likeness.other + 0.15
    assert likeness.name in {"max", "onyx"}
    assert not choir.likeness(voices["max"]).is_right


def test_the_same_recording_under_another_name_is_no_other_voice(voices: dict[str, Voice]):
    choir = Choir(voices["ada"], {"copy": voices["ada"], "max": voices["max"]})
    assert list(choir.others) == ["max"]


def test_the_farthest_voice_is_the_least_like():
    choir = Choir(
        np.array([1, 0, 0], np.float32),
        {"near": np.array([0.8, 0.6, 0], np.float32), "far": np.array([0, 0, 1], np.float32)},
    )
    assert choir.farthest == "far"


def test_noise_has_a_voice_of_its_own_and_silence_none(ear: Ear, voices: dict[str, Voice]):
    assert ear.voice(silence(1)) is None
    assert ear.voice(silence(0)) is None
    heard = ear.voice(noise(1))
    assert heard is not None
    assert float(heard @ voices["ada"]) < 0.7
