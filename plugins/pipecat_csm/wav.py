"""WAV files: read for references, written while the speech is made."""

import io
import os
import stat
import struct
import sys
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipecat_csm.errors import AudioError

_MAX_FILE_BYTES = 512 * 1024 * 1024
# The length in the header of sound without an end.
_UNKNOWN_BYTES = 0xFFFF_FFFF - 36


def read_wav(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Reads PCM of 8, 16, 24 or 32 bits.

    Returns:
        float32 [samples, channels] within [-1, 1], and the rate in Hz.

    Raises:
        AudioError: There is no such file, it is no PCM WAV, or it is enormous.
    """
    path = Path(path).expanduser()
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise AudioError(f"{path} is larger than a recording of a voice can be (512 MB).")
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            # What came through a pipe claims a length that it has not.
            data = file.readframes(min(file.getnframes(), size // (width * channels)))
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
    """Writes mono, 16 bit, piece by piece; the header is right after each of them.

    A file is touched only when there is sound for it: until then an older one of that name stays as
    it is. A pipe gets a header without a length, as from ffmpeg.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int) -> None:
        """Opens the file, which is made where there is none.

        Args:
            path: A file, or "-" for the standard output.
            sample_rate_hz: Of all that will be written.

        Raises:
            AudioError: It cannot be written.
        """
        self._path = Path(path).expanduser()
        self._rate_hz = sample_rate_hz
        self._written_bytes = 0
        self._is_new = self._is_file = False
        try:
            if str(path) == "-":
                self._raw = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
            else:
                self._is_new = not self._path.exists()
                # Not `open(path, "wb")`, which would empty it.
                self._raw = io.FileIO(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666), "w")
                self._is_file = stat.S_ISREG(os.fstat(self._raw.fileno()).st_mode)
        except OSError as error:
            raise self._unwritable(error) from None

    def __enter__(self) -> "WavWriter":
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file, and removes it if it is new and nothing was written."""
        self._raw.close()
        if self._is_new and not self._written_bytes:
            self._path.unlink(missing_ok=True)

    def write(self, audio: NDArray[np.float32]) -> None:
        """Appends float32 [samples].

        Raises:
            AudioError: The disk is full, or the reader of the pipe has gone.
        """
        data = (np.clip(audio, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        if not data:
            return
        try:
            if not self._written_bytes:
                if self._is_file:
                    self._raw.truncate(0)
                self._put(_header(self._rate_hz, _UNKNOWN_BYTES))
            self._put(data)
            self._written_bytes += len(data)
            if self._is_file:
                self._raw.seek(0)
                self._put(_header(self._rate_hz, min(self._written_bytes, _UNKNOWN_BYTES)))
                self._raw.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._unwritable(error) from None

    def _put(self, data: bytes) -> None:
        while data:  # a full pipe takes a part
            data = data[self._raw.write(data) :]

    def _unwritable(self, error: OSError) -> AudioError:
        name = "The standard output" if str(self._path) == "-" else self._path
        return AudioError(f"{name} cannot be written: {error.strerror or error}.")


def _header(rate_hz: int, data_bytes: int) -> bytes:
    riff = struct.pack("<4sI4s", b"RIFF", data_bytes + 36, b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return riff + form + struct.pack("<4sI", b"data", data_bytes)
