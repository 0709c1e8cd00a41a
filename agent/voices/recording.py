"""Recordings as files: any format in, 24 kHz mono FLAC out."""

from dataclasses import dataclass
from pathlib import Path

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
    recording = _read_by_soundfile(path) or _read_by_av(path)
    if recording is None:
        raise RecordingError(
            f"{path} is not a recording that can be read; convert it, as with: "
            f"ffmpeg -i {path.name} voice.wav"
        )
    if not recording.samples.size:
        raise RecordingError(f"{path} is empty: it holds no sound.")
    if not _MIN_RATE_HZ <= recording.rate_hz <= _MAX_RATE_HZ:
        raise RecordingError(f"{path} has {recording.rate_hz:,} Hz, which is no recording's rate.")
    if not np.isfinite(recording.samples).all():
        raise RecordingError(f"{path} holds NaN or infinity instead of sound.")
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


def _read_by_soundfile(path: Path) -> Recording | None:
    try:
        with soundfile.SoundFile(str(path)) as file:
            _check_length(path, file.frames / max(1, file.samplerate))
            most = int(MAX_READ_S * file.samplerate)
            samples = np.asarray(file.read(most, "float32", always_2d=True), np.float32)
            return Recording(samples, file.samplerate)
    except soundfile.LibsndfileError:
        return None


def _read_by_av(path: Path) -> Recording | None:
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        return None
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return None
            _check_length(path, (container.duration or 0) / 1e6)
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="fltp")
            blocks, read_s = [], 0.0
            for frame in container.decode(stream):
                for block in resampler.resample(frame):
                    blocks.append(block.to_ndarray().T)
                    read_s += block.samples / block.sample_rate
                _check_length(path, read_s)
            samples = np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)
            return Recording(samples.astype(np.float32), stream.rate)
    except (FFmpegError, ValueError):
        return None


def _check_length(path: Path, seconds: float) -> None:
    if seconds > MAX_READ_S:
        raise RecordingError(
            f"{path} lasts {seconds / 60:.0f} minutes; cut out 10 to 20 s in which the voice "
            "speaks as it is to sound."
        )
