"""WAV files of every width are read; what is none is refused."""

import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from pipecat_csm.errors import AudioError
from pipecat_csm.wav import WavWriter, read_wav

WAVE = np.sin(np.arange(480) / 10).astype(np.float32) * 0.5


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width(tmp_path, width):
    path = tmp_path / "a.wav"
    scaled = np.round(WAVE.astype(np.float64) * (2 ** (8 * width - 1) - 1)).astype("<i8")
    if width == 1:
        scaled += 128
    data = scaled.view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(data)
    audio, rate = read_wav(path)
    assert rate == 8000
    assert audio.shape == (240, 2)
    assert np.allclose(audio.reshape(-1), WAVE, atol=2.0 ** (1 - 8 * min(width, 2)) * 2)


def test_what_is_written_can_be_read_before_it_is_finished(tmp_path):
    path = tmp_path / "a.wav"
    with WavWriter(path, 24_000) as writer:
        writer.write(WAVE)
        assert len(read_wav(path)[0]) == 480
        writer.write(WAVE * 10)
    audio, _ = read_wav(path)
    assert np.allclose(audio[:480, 0], WAVE, atol=1e-4)
    assert np.abs(audio).max() <= 1


def test_a_file_is_touched_only_when_there_is_sound(tmp_path):
    path = tmp_path / "a.wav"
    with WavWriter(path, 24_000) as writer:
        writer.write(WAVE[:0])
    assert not path.exists()
    path.write_bytes(b"a longer and older recording" * 100)
    with WavWriter(path, 24_000) as writer:
        assert path.read_bytes().startswith(b"a longer")
        writer.write(WAVE[:3])
    assert len(read_wav(path)[0]) == 3
    assert path.stat().st_size == 44 + 6


def test_what_goes_through_a_pipe_can_be_read_from_a_file(tmp_path):
    path = tmp_path / "a.wav"
    code = (
        "import numpy as np; from pipecat_csm.wav import WavWriter\n"
        "with WavWriter('-', 24_000) as writer:\n"
        "    for _ in range(3): writer.write(np.full(50_000, 0.5, np.float32))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    path.write_bytes(done.stdout)
    audio, rate = read_wav(path)
    assert (len(audio), rate) == (150_000, 24_000)
    assert np.allclose(audio, 0.5, atol=1e-4)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux alone has a disk always full")
def test_a_full_disk_is_one_sentence():
    with (
        pytest.raises(AudioError, match="/dev/full cannot be written: No space left"),
        WavWriter("/dev/full", 24_000) as writer,
    ):
        writer.write(WAVE)


def test_a_pipe_that_nobody_reads_any_more_is_one_sentence(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with WavWriter(pipe, 24_000) as writer:
        writer.write(WAVE)
        os.close(reader)
        with pytest.raises(AudioError, match="Broken pipe"):
            writer.write(WAVE)


def test_refusals(tmp_path):
    path = tmp_path / "no.wav"
    with pytest.raises(AudioError, match="cannot be read"):
        read_wav(path)
    path.write_bytes(b"")
    with pytest.raises(AudioError, match="not a PCM WAV"):
        read_wav(path)
    path.write_bytes(b"ID3" + b"\0" * 100)
    with pytest.raises(AudioError, match="ffmpeg"):
        read_wav(path)
    for unwritable in (tmp_path / "no" / "a.wav", tmp_path):
        with pytest.raises(AudioError, match="cannot be written"):
            WavWriter(unwritable, 24_000)
