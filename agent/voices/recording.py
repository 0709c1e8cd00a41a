"""Recordings as files: any format in, 24 kHz mono FLAC out."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from agent.config import ConfigError

# Mimi's rate, at which CSM hears its references.
SAMPLE_RATE_HZ = 24_000

MAX_FILE_BYTES = 256 * 1024 * 1024
# A reference lasts 30 s at most; what is far longer is refused before it fills the memory.
MAX_READ_S = 600.0
# What so many seconds may hold at most: 48 kHz in stereo. Silence is small in a file, not here.
_SAMPLES_PER_S = 2 * 48_000
_MIN_RATE_HZ, _MAX_RATE_HZ = 4_000, 384_000


class RecordingError(ConfigError):
    """A recording that cannot be used at all; one sentence says why, and what to do."""


@dataclass(frozen=True)
class Recording:
    """A recording as it was made.

    Attributes:
        samples: float32 [samples, channels]; full scale is 1, though MP3 may pass it.
        rate_hz: Samples a second.
    """

    samples: NDArray[np.float32]
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate_hz

    def mono(self, rate_hz: int = SAMPLE_RATE_HZ) -> NDArray[np.float32]:
        """The mean of its channels at another rate, float32 [samples]."""
        return resampled(self.samples.mean(axis=1), self.rate_hz, rate_hz)

    def describe(self) -> str:
        """Its length and format in words."""
        channels = self.samples.shape[1]
        kind = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
        return f"{self.duration_s:.1f} s, {self.rate_hz:,} Hz, {kind}"


def resampled(samples: NDArray[np.float32], rate_hz: int, to_hz: int) -> NDArray[np.float32]:
    """float32 [samples] at another rate."""
    if rate_hz == to_hz:
        return samples
    return soxr.resample(samples, rate_hz, to_hz).astype(np.float32)


def read_recording(path: Path) -> Recording:
    """Reads WAV, FLAC, OGG, Opus, MP3, AIFF; and, where PyAV is installed, what phones and videos
    have (M4A, MP4, WebM).

    Raises:
        RecordingError: It is missing, enormous, empty, no recording, or of an impossible rate.
    """
    _check_size(path)
    try:
        with path.open("rb") as file:
            return read_sound(file, str(path), f"ffmpeg -i {path.name} voice.wav")
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}.") from None


def read_sound(
    file: BinaryIO, called: str, convert: str, *, longest_s: float = MAX_READ_S
) -> Recording:
    """Reads what `read_recording` reads, from anything that holds its bytes.

    Args:
        file: Read from its beginning.
        called: What the sentences call it.
        convert: How to convert what cannot be read, for the sentence.
        longest_s: What is longer is refused before it is read.

    Raises:
        RecordingError: As `read_recording`'s.
    """
    recording = _read_by_soundfile(file, called, longest_s) or _read_by_av(file, called, longest_s)
    if recording is None:
        raise RecordingError(
            f"{called} is not a recording that can be read; convert it, as with: {convert}"
        )
    if not recording.samples.size:
        raise RecordingError(f"{called} is empty: it holds no sound.")
    if not _MIN_RATE_HZ <= recording.rate_hz <= _MAX_RATE_HZ:
        raise RecordingError(
            f"{called} has {recording.rate_hz:,} Hz, which is no recording's rate."
        )
    if not np.isfinite(recording.samples).all():
        raise RecordingError(f"{called} holds NaN or infinity instead of sound.")
    return recording


def duration_s(path: Path) -> float:
    """How long a recording lasts, from its header.

    Raises:
        RecordingError: It cannot be read as one.
    """
    _check_size(path)
    try:
        return float(soundfile.info(str(path)).duration)
    except soundfile.LibsndfileError as error:
        raise RecordingError(
            f"{path} is not a recording that can be read ({error.error_string}); a persona's "
            "recordings are FLAC or WAV."
        ) from None


def write_flac(path: Path, samples: NDArray[np.float32]) -> None:
    """Writes float32 [samples] at 24 kHz as 16-bit FLAC.

    Raises:
        RecordingError: The folder cannot be written, or the disk is full.
    """
    try:
        soundfile.write(str(path), np.clip(samples, -1, 1), SAMPLE_RATE_HZ, "PCM_16", format="FLAC")
    except (OSError, soundfile.LibsndfileError) as error:
        raise RecordingError(f"{path} cannot be written: {error}.") from None


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}.") from None
    if not path.is_file():
        raise RecordingError(f"{path} is no file.")
    if not size:
        raise RecordingError(f"{path} is empty: it holds no sound.")
    if size > MAX_FILE_BYTES:
        raise RecordingError(
            f"{path} has {size / 1e6:,.0f} MB; give a file with 30 s of speech at most."
        )


def _read_by_soundfile(file: BinaryIO, called: str, longest_s: float) -> Recording | None:
    try:
        file.seek(0)
        with soundfile.SoundFile(file) as sound:
            _check_length(called, sound.frames / max(1, sound.samplerate), longest_s)
            most = int(longest_s * sound.samplerate)
            _check_samples(called, min(most, sound.frames) * sound.channels, longest_s)
            samples = np.asarray(sound.read(most, "float32", always_2d=True), np.float32)
            return Recording(samples, sound.samplerate)
    except soundfile.LibsndfileError:
        return None


def _read_by_av(file: BinaryIO, called: str, longest_s: float) -> Recording | None:
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        return None
    try:
        file.seek(0)
        with av.open(file, "r") as container:
            if not container.streams.audio:
                return None
            _check_length(called, (container.duration or 0) / 1e6, longest_s)
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="fltp")
            blocks, read_s, read = [], 0.0, 0
            for frame in container.decode(stream):
                for block in resampler.resample(frame):
                    blocks.append(block.to_ndarray().T)
                    read_s += block.samples / block.sample_rate
                    read += blocks[-1].size
                _check_length(called, read_s, longest_s)
                _check_samples(called, read, longest_s)
            samples = np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)
            return Recording(samples.astype(np.float32), stream.rate)
    except (FFmpegError, ValueError):
        return None


def _check_length(called: str, seconds: float, longest_s: float) -> None:
    if seconds > longest_s:
        raise RecordingError(
            f"{called} lasts {seconds / 60:.0f} minutes; cut out 10 to 20 s in which the voice "
            "speaks as it is to sound."
        )


def _check_samples(called: str, samples: int, longest_s: float) -> None:
    if samples > longest_s * _SAMPLES_PER_S:
        raise RecordingError(
            f"{called} holds {samples / 1e6:.0f} million samples, more than any recording of one "
            "voice needs; convert it to 48 kHz in mono, and cut out 10 to 20 s."
        )
