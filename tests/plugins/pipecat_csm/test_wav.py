"""WAV files of every width are read; what is none is refused."""

import wave

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
    with pytest.raises(AudioError, match="cannot be written"):
        WavWriter(tmp_path / "no" / "a.wav", 24_000)
