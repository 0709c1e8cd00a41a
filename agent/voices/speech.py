"""Where in a recording somebody speaks, by Silero VAD (MIT), and what lies between."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000

_FRAME_SAMPLES = 512
FRAME_S = _FRAME_SAMPLES / SAMPLE_RATE_HZ
_SPEECH = 0.5
# Within a word Silero hesitates for a frame or two; what is next to speech may still be its end.
_NEAR_FRAMES = 2
# Too few pauses say nothing of the noise; then the quietest moments do.
_ENOUGH_FRAMES = 5
_QUIETEST = 0.05
_MOST_SNR_DB = 60.0


@dataclass(frozen=True)
class SpeechMap:
    """Silero's judgement of each 32 ms of a recording.

    Attributes:
        samples: The recording, float32 [samples] at 16 kHz.
        probabilities: That somebody speaks, float32 [frames].
    """

    samples: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    @property
    def is_speech(self) -> NDArray[np.bool_]:
        """bool [frames]."""
        return self.probabilities > _SPEECH

    @property
    def speech_s(self) -> float:
        """How much of it is speech."""
        return float(self.is_speech.sum()) * FRAME_S

    @property
    def share(self) -> float:
        """The share of speech between its beginning and its end, 0 to 1."""
        begin_s, end_s = self.bounds_s
        return self.speech_s / (end_s - begin_s) if end_s else 0.0

    @property
    def bounds_s(self) -> tuple[float, float]:
        """Where speech begins and ends; (0, 0) where there is none."""
        speaking = np.flatnonzero(self.is_speech)
        if not len(speaking):
            return 0.0, 0.0
        end_s = min((speaking[-1] + 1) * FRAME_S, len(self.samples) / SAMPLE_RATE_HZ)
        return float(speaking[0] * FRAME_S), float(end_s)

    @property
    def voice(self) -> NDArray[np.float32]:
        """The speech without its pauses, float32 [samples] at 16 kHz."""
        return self._frames()[self._near_speech()].reshape(-1)

    @property
    def snr_db(self) -> float:
        """How far the pauses lie below the speech, at most 60 dB.

        Music behind the voice counts as noise: it goes on in the pauses.
        """
        power = np.square(self._frames(), dtype=np.float64).mean(axis=1)
        speaking = self.is_speech
        if not speaking.any():
            return 0.0
        pauses = power[~self._near_speech()]
        enough = len(pauses) >= _ENOUGH_FRAMES
        noise = float(np.median(pauses) if enough else np.quantile(power, _QUIETEST))
        voice = float(power[speaking].mean())
        if noise <= voice * 10 ** (-_MOST_SNR_DB / 10):
            return _MOST_SNR_DB
        return 10 * float(np.log10(max(voice - noise, 1e-12) / noise))

    def _frames(self) -> NDArray[np.float32]:
        padded = np.pad(self.samples, (0, -len(self.samples) % _FRAME_SAMPLES))
        return padded.reshape(-1, _FRAME_SAMPLES)

    def _near_speech(self) -> NDArray[np.bool_]:
        spread = np.convolve(self.is_speech, np.ones(2 * _NEAR_FRAMES + 1))
        return spread[_NEAR_FRAMES : _NEAR_FRAMES + len(self.probabilities)] > 0.5


def map_speech(samples: NDArray[np.float32]) -> SpeechMap:
    """Listens to a whole recording.

    Args:
        samples: float32 [samples] at 16 kHz.
    """
    from faster_whisper.vad import get_vad_model

    # Silero writes into what it is given.
    padded = np.pad(samples, (0, -len(samples) % _FRAME_SAMPLES))
    probabilities = get_vad_model()(padded.copy())
    return SpeechMap(samples, np.asarray(probabilities, np.float32).reshape(-1))
