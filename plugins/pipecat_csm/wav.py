"""WAV files: read for references, written while the speech is made."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.errors import AudioError

_MAX_FILE_BYTES = 512 * 1024 * 1024


def read_wav(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Reads PCM of 8, 16, 24 or 32 bits.

    Returns:
        float32 [samples, channels] within [-1, 1], and the rate in Hz.

    Raises:
        AudioError: There is no such file, it is no PCM WAV, or it is enormous.
    """
    path = Path(path).expanduser()
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise AudioError(f"{path} is larger than a recording of a voice can be (512 MB).")
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise AudioError(
            f"{path} is not a PCM WAV file ({error}); convert it, as with: "
            f"ffmpeg -i {path.name} -ac 1 -ar 24000 voice.wav"
        ) from None
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}.") from None
    usable = len(data) - len(data) % (width * channels)
    return _floats(data[:usable], width).reshape(-1, channels), rate


def _floats(data: bytes, width: int) -> NDArray[np.float32]:
    if width == 1:  # the only unsigned one
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return padded.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    samples = np.frombuffer(data, f"<i{width}").astype(np.float32)
    return samples / np.float32(2 ** (8 * width - 1))


class WavWriter:
    """Writes 24 kHz mono, 16 bit, piece by piece; the header is right after each of them."""

    def __init__(self, path: str | Path, sample_rate_hz: int) -> None:
        """Creates the file.

        Raises:
            AudioError: It cannot be written.
        """
        try:
            self._raw = Path(path).expanduser().open("wb")
        except OSError as error:
            raise AudioError(f"{path} cannot be written: {error.strerror or error}.") from None
        self._file = wave.Wave_write(self._raw)
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(sample_rate_hz)

    def __enter__(self) -> "WavWriter":
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._file.close()
        self._raw.close()

    def write(self, audio: NDArray[np.float32]) -> None:
        """Appends float32 [samples]."""
        self._file.writeframes((np.clip(audio, -1.0, 1.0) * 32767).astype("<i2").tobytes())
        self._raw.flush()
