"""A Segment is checked when it is made, and says by id and revision what it holds."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat_csm.errors import ContextError
from pipecat_csm.segment import FRAME_SAMPLES, Segment

torch = pytest.importorskip("torch")


def codes(frames: int = 3, codebooks: int = 4):
    return torch.arange(frames * codebooks).reshape(frames, codebooks)


def test_neither_it_nor_the_texts_nor_the_watch_load_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pipecat_csm import audio, segment, text, watch\n"
        "segment.Segment('Hi.', 0); watch.RunawayWatch(text.normalise('Hi.')).feed([1, 2])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_segment_has_an_id_of_its_own():
    first, second = Segment("Hi.", 0), Segment("Hi.", 0)
    assert first.id != second.id
    assert first != second
    assert first == Segment("Hi.", 0, id=first.id)


def test_it_is_compared_and_shown_by_its_words_not_by_its_sound():
    spoken = Segment("Hi.", 0, torch.zeros(5), codes(), id="a")
    assert spoken == Segment("Hi.", 0, id="a")
    assert len({spoken, Segment("Hi.", 0, id="a")}) == 1
    assert repr(spoken) == "Segment(text='Hi.', speaker=0, id='a', revision=0)"


def test_it_lasts_as_long_as_its_sound():
    assert Segment("Hi.", 0).duration_s == 0
    assert Segment("Hi.", 0, torch.zeros(36_000)).duration_s == 1.5
    assert Segment("Hi.", 0, codes=codes(25)).duration_s == 2


@pytest.mark.parametrize("speaker", [0, 1, 999, 65_535])
def test_any_small_number_is_a_speaker(speaker: int):
    assert Segment("Hi.", speaker).speaker == speaker


@pytest.mark.parametrize("speaker", [-1, 65_536, 24_000.0, "0", None, True])
def test_nothing_else_is_a_speaker(speaker: Any):
    with pytest.raises(ContextError, match=r"whole number from 0 to 65,535, not "):
        Segment("Hi.", speaker)


def test_its_text_is_a_string():
    with pytest.raises(ContextError, match="not NoneType"):
        Segment(None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (torch.zeros(3, 4), r"not float32 \[3, 4\]"),
        (torch.zeros(3, 4, dtype=torch.int32), r"not int32 \[3, 4\]"),
        (torch.zeros(12, dtype=torch.int64), r"not int64 \[12\]"),
        (torch.zeros(3, 0, dtype=torch.int64), r"not int64 \[3, 0\]"),
        ([[1, 2]], "not list"),
    ],
)
def test_codes_of_another_kind_are_refused(wrong: Any, said: str):
    with pytest.raises(ContextError, match=said):
        Segment("Hi.", 0, codes=wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (torch.zeros(1, 100), r"not float32 \[1, 100\]; see to_model_audio"),
        (torch.zeros(100, dtype=torch.int16), r"not int16 \[100\]"),
        (torch.tensor([0.0, float("nan")]), "NaN"),
        (b"pcm", "not bytes"),
    ],
)
def test_audio_of_another_kind_is_refused(wrong: Any, said: str):
    with pytest.raises(ContextError, match=said):
        Segment("Hi.", 0, audio=wrong)


def test_codes_that_become_known_leave_it_the_same_segment():
    heard = Segment("Hi.", 1, torch.ones(FRAME_SAMPLES))
    encoded = heard.with_codes(codes(1))
    assert encoded == heard
    assert torch.equal(encoded.codes, codes(1))
    assert encoded.audio is heard.audio

    spoken = Segment("Hi.", 1).with_codes(codes(1), torch.ones(FRAME_SAMPLES))
    assert spoken.audio is not None


def test_known_codes_do_not_change_under_the_same_name():
    encoded = Segment("Hi.", 1).with_codes(codes(2))
    assert encoded.with_codes(codes(2)) == encoded
    with pytest.raises(ContextError, match="already has other codes"):
        encoded.with_codes(codes(2) + 1)


@given(st.integers(0, 6), st.integers(0, 6))
def test_a_crop_keeps_whole_frames_of_codes_and_sound(frames: int, missing: int):
    length = frames + missing
    segment = Segment("One two.", 1, torch.arange(length * 64.0), codes(length))
    cropped = segment.cropped(frames, "One", frame_samples=64)
    assert (cropped.id, cropped.revision) == (segment.id, 1)
    assert (cropped.text, cropped.speaker) == ("One", 1)
    assert torch.equal(cropped.codes, codes(length)[:frames])
    assert torch.equal(cropped.audio, torch.arange(frames * 64.0))
    assert cropped.cropped(frames, "One", frame_samples=64).revision == 2


def test_a_crop_works_on_codes_or_on_sound_alone():
    assert Segment("Hi.", 0, codes=codes(3)).cropped(2, "Hi").audio is None
    sound = Segment("Hi.", 0, torch.zeros(FRAME_SAMPLES + 1)).cropped(1, "Hi")
    assert sound.codes is None
    assert sound.duration_s == 0.08


def test_a_crop_does_not_hold_on_to_what_was_cut_off():
    cropped = Segment("Hi.", 0, codes=codes(1000)).cropped(1, "Hi")
    assert cropped.codes is not None
    assert cropped.codes.untyped_storage().nbytes() == 4 * 8


@pytest.mark.parametrize("frames", [-1, 4])
def test_a_crop_to_more_than_there_is_is_refused(frames: int):
    with pytest.raises(ContextError, match=f"has 3 frames and cannot be cropped to {frames}"):
        Segment("Hi.", 0, codes=codes(3)).cropped(frames, "Hi")


def test_text_alone_cannot_be_cropped():
    with pytest.raises(ContextError, match="text alone"):
        Segment("Hi.", 0).cropped(1, "Hi")
