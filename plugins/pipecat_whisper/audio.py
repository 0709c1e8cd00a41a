"""Any 16-bit PCM as Whisper wants it."""

import numpy as np
import soxr
from pipecat.frames.frames import AudioRawFrame

from pipecat_whisper.decoder import SAMPLE_RATE_HZ


class Mono16k:
    """Turns a stream of audio frames into mono float32 at 16 kHz.

    Each frame's own rate and channels count. At a rate other than 16 kHz, the resampler works in
    blocks and holds back up to 0.12 s until later frames.
    """

    def __init__(self) -> None:
        """Starts at 16 kHz; the first frame says what the rate is."""
        self._rate_hz = SAMPLE_RATE_HZ
        self._stream: soxr.ResampleStream | None = None
        self._taken = self._given = 0  # samples since the rate changed

    @property
    def held_back_s(self) -> float:
        """How much of the sound is still in the resampler."""
        return self._taken / self._rate_hz - self._given / SAMPLE_RATE_HZ

    def convert(self, frame: AudioRawFrame) -> np.ndarray:
        """The next samples, float32 [samples] in [-1, 1].

        A trailing part of a sample, which only a broken sender sends, is dropped.
        """
        channels = max(1, frame.num_channels)
        whole = len(frame.audio) - len(frame.audio) % (2 * channels)
        samples = np.frombuffer(frame.audio[:whole], dtype="<i2").astype(np.float32) / 32768
        if channels > 1:
            samples = samples.reshape(-1, channels).mean(axis=1)
        if frame.sample_rate != self._rate_hz:
            self._rate_hz = frame.sample_rate
            self._stream = self._new_stream()
            self._taken = self._given = 0
        converted = samples if self._stream is None else self._stream.resample_chunk(samples)
        self._taken += len(samples)
        self._given += len(converted)
        return converted

    def _new_stream(self) -> soxr.ResampleStream | None:
        if self._rate_hz == SAMPLE_RATE_HZ:
            return None
        return soxr.ResampleStream(self._rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
