"""Whatever is recorded becomes 24 kHz mono of one loudness, in whole frames."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipecat_csm.audio import LOUDNESS_DBFS, to_model_audio
from pipecat_csm.errors import AudioError

torch = pytest.importorskip("torch")
pytest.importorskip("torchaudio")


def tone(rate_hz: int = 24_000, seconds: float = 1.0, hz: float = 440, level: float = 0.5):
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    return (level * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def exact(audio: Any, rate_hz: int = 24_000, frame_samples: int = 1):
    """Without the changes of loudness and length."""
    return to_model_audio(audio, rate_hz, loudness=None, frame_samples=frame_samples)


def dbfs(samples) -> float:
    return 10 * float(samples.square().mean().log10())


@pytest.mark.parametrize("dtype", [np.int16, np.int32, ">i2", np.float16, np.float32, np.float64])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_samples_of_any_type_are_the_same_sound(dtype: Any, as_tensor: bool):
    dtype = np.dtype(dtype)
    scale = -np.iinfo(dtype).min if dtype.kind == "i" else 1
    audio: Any = (tone().astype(np.float64) * scale).astype(dtype)
    if as_tensor:
        audio = torch.from_numpy(audio.astype(dtype.newbyteorder("=")))
    found = exact(audio)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), tone(), atol=5e-4)


def test_24_khz_floats_pass_unchanged_where_loudness_is_off():
    assert torch.equal(exact(tone()), torch.from_numpy(tone()))


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_a_tone_of_any_rate_stays_the_tone(rate_hz: int):
    found = exact(tone(rate_hz), rate_hz).numpy()
    assert len(found) == 24_000
    inner = slice(500, -500)
    np.testing.assert_allclose(found[inner], tone()[inner], atol=0.01)


@pytest.mark.parametrize("rate_hz", [4_001, 23_999, 24_001, 44_101, 191_999])
def test_an_odd_rate_neither_fails_nor_fills_the_memory(rate_hz: int):
    found = exact(tone(rate_hz, 0.5), rate_hz)
    assert len(found) == pytest.approx(12_000, rel=1e-3)
    peak_hz = 2 * int(torch.fft.rfft(found).abs().argmax())
    assert peak_hz == 440


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_shorter_axis_are_the_channels_and_their_mean_counts(channels: int, axis: int):
    voices = [tone(level=0.1 * k) for k in range(1, channels + 1)]
    found = exact(np.stack(voices, axis=axis))
    np.testing.assert_allclose(found.numpy(), np.mean(voices, axis=0), atol=1e-6)


def test_the_last_frame_is_filled_with_zeros():
    found = to_model_audio(np.ones(1921, np.float32), 24_000, loudness=None)
    assert found.tolist() == [1.0] * 1921 + [0.0] * 1919
    assert len(to_model_audio(tone(), 24_000, frame_samples=64)) == 24_000


@pytest.mark.parametrize("level", [0.02, 0.1, 0.9])
@pytest.mark.parametrize("pause_s", [0.0, 3.0])
def test_the_voice_is_brought_to_one_loudness_however_long_the_pauses(level: float, pause_s: float):
    voice = tone(level=level)
    pause = np.zeros(int(24_000 * pause_s), np.float32)
    found = to_model_audio(np.concatenate([pause, voice, pause]), 24_000)
    start = len(pause)
    assert dbfs(found[start : start + len(voice)]) == pytest.approx(LOUDNESS_DBFS, abs=0.1)


def test_a_voice_far_away_is_lifted_by_20_db_at_most():
    whisper = tone(level=0.002)
    np.testing.assert_allclose(to_model_audio(whisper, 24_000)[:24_000], whisper * 10, rtol=1e-4)


def test_silence_stays_silence():
    hum = tone(hz=50, level=0.0005)
    assert torch.equal(to_model_audio(hum, 24_000)[:24_000], torch.from_numpy(hum))
    assert not to_model_audio(np.zeros(100, np.int16), 8_000).any()


def test_overdriven_sound_is_clipped():
    found = exact(tone(level=3.0))
    assert found.abs().max() == 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([8_000, 24_000, 44_100, 48_000]) | st.integers(4_000, 192_000),
    st.lists(st.floats(-16, 16, width=32), min_size=1, max_size=400),
    st.sampled_from([None, -23.0, -6.0]),
)
def test_it_is_always_whole_frames_of_finite_sound(rate_hz, samples, loudness):
    found = to_model_audio(np.array(samples, np.float32), rate_hz, loudness=loudness)
    assert found.dtype == torch.float32
    assert found.ndim == 1
    assert len(found) % 1920 == 0
    assert len(found) > 0
    assert found.isfinite().all()
    assert found.abs().max() <= 1


def test_what_was_given_is_not_changed():
    given_audio = tone()
    given_audio.setflags(write=False)
    to_model_audio(given_audio, 24_000)
    tensor = torch.from_numpy(tone())
    found = exact(tensor)
    found.zero_()
    assert torch.equal(tensor, torch.from_numpy(tone()))


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (np.zeros(0, np.float32), "is empty"),
        (np.zeros((2, 0), np.float32), "is empty"),
        (np.array([0, np.nan], np.float32), "NaN or infinity"),
        (np.array([0, np.inf], np.float64), "NaN or infinity"),
        (np.array([0, 1e300]), "NaN or infinity"),
        (np.array([0, 12_345.0]), "reach 12,345, but the full scale of floats is 1"),
        (np.zeros(9, np.uint8), "samples are uint8; int16, int32 and floats can be read"),
        (np.zeros(9, np.int64), "samples are int64"),
        (np.zeros(9, np.complex64), "samples are complex64"),
        (torch.zeros(9, dtype=torch.bool), "samples are bool"),
        (np.float32(0.5), "is a float32, not a tensor or an array"),
        (np.array(0.5), r"the shape \[\]"),
        (np.zeros((1, 2, 3), np.float32), r"the shape \[1, 2, 3\]"),
        (np.zeros((100, 100), np.float32), "not that many channels exist"),
        ([0.0, 0.5], "is a list, not a tensor or an array"),
        (b"\0\0", "is a bytes, not"),
    ],
)
def test_what_is_no_sound_is_refused_in_one_sentence(audio: Any, said: str):
    with pytest.raises(AudioError, match=said) as raised:
        to_model_audio(audio, 24_000)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize("rate_hz", [0, -1, 3_999, 192_001, 16_000.5, float("nan"), "8000", None])
def test_no_rate_that_cannot_be_is_believed(rate_hz: Any):
    with pytest.raises(AudioError, match=r"^A sample rate (is|lies) .*, not .*\.$"):
        to_model_audio(tone(), rate_hz)


def test_a_missing_torchaudio_matters_only_at_other_rates_and_says_so():
    code = (
        "import sys; sys.modules['torchaudio'] = None\n"
        "import numpy as np\n"
        "from pipecat_csm.audio import to_model_audio\n"
        "to_model_audio(np.zeros(10, np.int16), 24_000)\n"
        "to_model_audio(np.zeros(10, np.int16), 8_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Sound at 8,000 Hz needs torchaudio to become 24,000 Hz: install it" in done.stderr
    assert "During handling" not in done.stderr
