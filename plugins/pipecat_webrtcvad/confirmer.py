"""Silero on demand: a second opinion about a stretch of audio at any rate."""

import numpy as np
import soxr
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADState


class SileroConfirmer:
    """Scores stretches of a stream, each one fed without gaps after a `restart`.

    Silero takes 512 samples at 16 kHz or 256 at 8 kHz; this takes chunks of any length at any
    rate, resamples what is not one of those two rates to 16 kHz, and cuts it into windows.
    """

    def __init__(self):
        """Load the model that ships with Pipecat; each confirmer has its own."""
        self._silero = _Silero()
        self._resampler: soxr.ResampleStream | None = None
        self._pending = b""
        self._score = 0.0
        self._confirmations = 0

    @property
    def confirmations(self) -> int:
        """How many windows (32 ms each) Silero has scored."""
        return self._confirmations

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the rate in Hz of the audio that `score` will get, and start afresh."""
        silero_rate = 8000 if sample_rate == 8000 else 16000
        self._resampler = None
        if sample_rate != silero_rate:
            # The low quality preset is plenty for Silero, and holds back the least audio, which is
            # delay here. Floats, because soxr dithers int16 at random: the same sound would not
            # always get the same score.
            self._resampler = soxr.ResampleStream(
                sample_rate, silero_rate, 1, dtype="float32", quality="LQ"
            )
        self._silero.set_sample_rate(silero_rate)
        self.restart()

    def restart(self) -> None:
        """Forget the stretch before: call it when audio was left out since the last `score`.

        Silero is recurrent. Carried over a gap, its state describes the moment before the gap,
        often the end of a sentence or noise, and makes it under-report the speech that follows;
        a fresh state that hears some pre-roll does not.
        """
        self._silero.restart()
        if self._resampler is not None:
            self._resampler.clear()
        self._pending = b""
        self._score = 0.0

    def score(self, audio: bytes, state: VADState) -> float:
        """Confidence of the latest whole window, 0 before the first one.

        Args:
            audio: The next chunk of the stretch, 16-bit mono PCM.
            state: Where the turn stands; Silero renews its own state only in quiet.
        """
        if self._resampler is not None:
            samples = np.frombuffer(audio, np.int16).astype(np.float32)
            resampled = self._resampler.resample_chunk(samples)
            # Filtering overshoots; unclipped, a loud peak would wrap round to the other sign.
            audio = np.clip(resampled.round(), -32768, 32767).astype(np.int16).tobytes()
        self._pending += audio
        window_bytes = 2 * self._silero.num_frames_required()
        while len(self._pending) >= window_bytes:
            window = self._pending[:window_bytes]
            self._pending = self._pending[window_bytes:]
            self._score = self._silero.score(window, state)
            self._confirmations += 1
        return self._score

    async def cleanup(self) -> None:
        """Release the analyzer's resources."""
        await self._silero.cleanup()


class _Silero(SileroVADAnalyzer):
    """Pipecat's analyzer, used for its scores and for its renewal of a stale state in long noise.

    Its own turn machine does not run, so it is told the turn's state: it must not renew in the
    middle of a turn.
    """

    def restart(self) -> None:
        self._model.reset_states()
        self._windows_since_reset = 0
        self._low_confidence_windows = 0

    def score(self, window: bytes, state: VADState) -> float:
        self._vad_state = state
        return float(np.squeeze(self.voice_confidence(window)))
