"""Any file in, 24 kHz mono FLAC out; what is no recording is refused in a sentence."""

import io

import av
import numpy as np
import pytest
import soundfile

from agent.voices.recording import (
    MAX_READ_S,
    Recording,
    RecordingError,
    duration_s,
    read_recording,
    read_sound,
    write_flac,
)
from tests.recordings import RATE_HZ, noise, silence, write

TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (48_000, 2)])
def test_every_usual_kind_and_rate_becomes_24_khz_mono(tmp_path, kind, rate_hz, channels):
    recording = read_recording(write(tmp_path / f"a.{kind}", TONE, rate_hz, channels=channels))
    assert recording.rate_hz == rate_hz
    assert recording.samples.shape[1] == channels
    mono = recording.mono()
    assert mono.dtype == np.float32
    assert abs(len(mono) - RATE_HZ) < 0.1 * RATE_HZ  # MP3 and OGG pad
    middle = mono[RATE_HZ // 3 : RATE_HZ // 2]
    assert 0.25 < np.sqrt(np.square(middle).mean()) < 0.31


def test_what_a_phone_records_is_read(tmp_path):
    path = tmp_path / "memo.m4a"
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
        frame = av.AudioFrame.from_ndarray(
            tone[None].astype(np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 44_100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    recording = read_recording(path)
    assert recording.rate_hz == 44_100
    assert 0.9 < recording.duration_s < 1.2
    assert recording.describe().endswith("44,100 Hz, mono")


def test_channels_are_mixed():
    both = np.stack([TONE, -TONE], axis=1)
    assert np.abs(Recording(both, RATE_HZ).mono()).max() < 1e-6


def test_what_is_written_is_read_again(tmp_path):
    write_flac(tmp_path / "a.flac", TONE)
    again = read_recording(tmp_path / "a.flac")
    assert (again.rate_hz, again.samples.shape) == (RATE_HZ, (RATE_HZ, 1))
    np.testing.assert_allclose(again.samples[:, 0], TONE, atol=1e-4)
    assert duration_s(tmp_path / "a.flac") == 1.0


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(RecordingError, match="cannot be written"):
        write_flac(tmp_path / "none" / "a.flac", TONE)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty: it holds no sound"),
        (
            b"Dear diary, today I recorded nothing." * 100,
            "not a recording that can be read.*ffmpeg",
        ),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not a recording that can be read"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, content, sentence):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=sentence):
        read_recording(path)


def test_a_folder_is_no_recording(tmp_path):
    with pytest.raises(RecordingError, match="is no file"):
        read_recording(tmp_path)


def test_a_recording_without_samples_is_empty(tmp_path):
    with pytest.raises(RecordingError, match="holds no sound"):
        read_recording(write(tmp_path / "a.wav", silence(0)))


def test_nan_is_no_sound(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(RATE_HZ, np.nan, np.float32), RATE_HZ, "FLOAT")
    with pytest.raises(RecordingError, match="NaN"):
        read_recording(path)


def test_a_whole_session_is_not_read_into_memory(tmp_path):
    path = tmp_path / "session.flac"
    soundfile.write(path, np.zeros(int(8_000 * (MAX_READ_S + 60)), np.float32), 8_000)
    with pytest.raises(RecordingError, match="lasts 11 minutes; cut out 10 to 20 s"):
        read_recording(path)


def test_a_header_that_promises_more_than_there_is(tmp_path):
    path = write(tmp_path / "cut.wav", noise(4))
    path.write_bytes(path.read_bytes()[: 2 * RATE_HZ])
    assert read_recording(path).duration_s == pytest.approx(1.0, abs=0.01)


def test_silence_that_is_small_in_a_file_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "bomb.flac"
    soundfile.write(path, np.zeros((int(MAX_READ_S * 8_000), 8), np.int16), 32_000)
    assert path.stat().st_size < 200_000
    with path.open("rb") as file, pytest.raises(RecordingError, match="million samples"):
        read_sound(file, "The file", "ffmpeg -i FILE voice.wav", longest_s=200)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_bytes_are_read_as_files_are(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", TONE)
    recording = read_sound(io.BytesIO(path.read_bytes()), "The file", "ffmpeg")
    np.testing.assert_array_equal(recording.samples, read_recording(path).samples)


def test_bytes_have_no_name_to_be_called_by():
    with pytest.raises(RecordingError) as refused:
        read_sound(io.BytesIO(b"Dear diary" * 100), "The file", "ffmpeg -i FILE voice.wav")
    assert str(refused.value) == (
        "The file is not a recording that can be read; convert it, as with: "
        "ffmpeg -i FILE voice.wav"
    )
