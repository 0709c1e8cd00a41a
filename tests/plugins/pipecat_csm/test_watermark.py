"""A marked clip is found as such, through what clips go through, and says the same words."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr
from pipecat_csm import watermark
from pipecat_csm.errors import AudioError

from tests.hearing import hear, words

SPEECH = Path(__file__).parents[2] / "data" / "speech.flac"
RATE_HZ = 24_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    return soxr.resample(samples, rate, RATE_HZ)


@pytest.fixture(scope="module")
def marked(speech) -> np.ndarray:
    return watermark.apply(speech, RATE_HZ)


def coded(samples: np.ndarray, container: str, codec: str, bit_rate: int) -> np.ndarray:
    """Through a codec and back."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=RATE_HZ, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(
            (np.clip(samples, -1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(stream.format, "mono", RATE_HZ, stream.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            out.mux(stream.encode(piece))
    file.seek(0)
    with av.open(file, "r") as source:
        resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        frames = [f for frame in source.decode(audio=0) for f in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def test_a_marked_clip_is_found_and_another_is_not(speech, marked):
    assert watermark.detect(speech, RATE_HZ) < 0.1
    assert watermark.detect(marked, RATE_HZ) > 0.99
    assert marked.dtype == np.float32
    assert len(marked) == len(speech)


def test_it_is_far_below_the_speech_and_whisper_hears_the_same(speech, marked):
    difference = np.square(marked - speech).sum() / np.square(speech).sum()
    assert 10 * np.log10(difference) < -14
    assert words(hear(marked, RATE_HZ)) == words(hear(speech, RATE_HZ))


@pytest.mark.parametrize(
    ("container", "codec", "bit_rate"), [("mp3", "libmp3lame", 64_000), ("ogg", "libopus", 24_000)]
)
def test_compression_leaves_it(speech, marked, container, codec, bit_rate):
    assert watermark.detect(coded(marked, container, codec, bit_rate), RATE_HZ) > 0.9
    assert watermark.detect(coded(speech, container, codec, bit_rate), RATE_HZ) < 0.1


def test_a_telephone_a_crop_and_another_volume_leave_it(marked):
    assert watermark.detect(soxr.resample(marked, RATE_HZ, 8_000), 8_000) > 0.9
    assert watermark.detect(marked[RATE_HZ : 2 * RATE_HZ], RATE_HZ) > 0.9
    assert watermark.detect(marked * np.float32(0.25), RATE_HZ) > 0.9


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_any_usual_rate(speech, rate_hz):
    clip = soxr.resample(speech, RATE_HZ, rate_hz)
    marked = watermark.apply(clip, rate_hz)
    assert len(marked) == len(clip)
    assert watermark.detect(clip, rate_hz) < 0.1
    assert watermark.detect(marked, rate_hz) > 0.99


def test_a_long_clip_is_marked_in_parts_without_a_seam(speech, monkeypatch):
    clip = np.tile(speech, 4)
    whole = watermark.apply(clip, RATE_HZ)
    monkeypatch.setattr(watermark, "_PART_SAMPLES", 2 * 32_000)
    parts = watermark.apply(clip, RATE_HZ)
    assert len(parts) == len(clip)
    assert watermark.detect(parts, RATE_HZ) > 0.9
    assert np.abs(parts - whole).max() < 0.15 * np.abs(whole - clip).max()


@pytest.mark.parametrize("samples", [0, 1, 700, 5_000])
def test_short_clips_and_silence_stay_as_long_and_finite(samples):
    clip = np.zeros(samples, np.float32)
    marked = watermark.apply(clip, RATE_HZ)
    assert len(marked) == samples
    assert not marked.any()
    assert watermark.detect(marked, RATE_HZ) == 0


@pytest.mark.parametrize(
    ("clip", "rate_hz", "said"),
    [
        (np.zeros((10, 2), np.float32), RATE_HZ, r"not float32 \[10, 2\]"),
        (np.zeros(10, np.int16), RATE_HZ, r"not int16 \[10\]"),
        (np.array([0, np.nan], np.float32), RATE_HZ, "or NaN"),
        (np.zeros(10, np.float32), 0, "8,000 to 192,000 Hz, not 0"),
    ],
)
def test_what_is_no_clip_is_refused_in_one_sentence(clip, rate_hz, said):
    for use in (watermark.apply, watermark.detect):
        with pytest.raises(AudioError, match=said):
            use(clip, rate_hz)


@pytest.mark.parametrize("missing", ["perth", "librosa", "pkg_resources"])
def test_without_the_packages_it_says_how_to_install_them(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from pipecat_csm.watermark import check_installed; check_installed()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "WatermarkError: A watermark needs packages that are not here" in done.stderr
    assert missing in done.stderr
    assert "pip install 'csm-agent[watermark]'" in done.stderr
    assert "During handling" not in done.stderr


def test_neither_loading_nor_marking_prints_anything():
    code = (
        "import numpy as np; from pipecat_csm import watermark\n"
        "watermark.apply(np.zeros(24_000, np.float32), 24_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
