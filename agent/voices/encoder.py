"""Whose voice is it? Resemblyzer's speaker encoder (Apache-2.0), in numpy.

A GE2E network (https://arxiv.org/abs/1710.10467): 1.6 s of speech become a vector of length 1, and
the cosine of two of them is high where one person spoke both. Without torch, because who has none
can add a persona too.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.voices.speaker_weights import read_weights

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 1.6

_WINDOW_FRAMES = 160
_FFT_SAMPLES, _HOP_SAMPLES, _MELS = 400, 160, 40
_LAYERS = 3
# The level that it was taught at; mel powers are not logarithmic here.
_LEVEL_DBFS = -30.0


class SpeakerEncoder:
    """The loaded network; threads may share it."""

    def __init__(self, weights: Path) -> None:
        """Reads the weights (17 MB).

        Raises:
            ModelError: The file is not Resemblyzer's.
        """
        from faster_whisper.feature_extractor import FeatureExtractor

        self._weights = read_weights(weights)
        self._mels = FeatureExtractor.get_mel_filters(SAMPLE_RATE_HZ, _FFT_SAMPLES, _MELS)

    def embed(self, speech: NDArray[np.float32], *, hop_s: float = 0.4) -> NDArray[np.float32]:
        """One vector for each window of 1.6 s.

        Args:
            speech: float32 [samples] at 16 kHz, without long pauses. What is shorter than a window
                is repeated to fill it.
            hop_s: From the start of a window to that of the next.

        Returns:
            float32 [windows, 256], each of length 1.
        """
        window = int(WINDOW_S * SAMPLE_RATE_HZ)
        if len(speech) < window:
            speech = np.resize(speech, window)
        frames = self._spectrogram(_levelled(speech))
        hop = round(hop_s * SAMPLE_RATE_HZ / _HOP_SAMPLES)
        starts = range(0, len(frames) - _WINDOW_FRAMES + 1, hop)
        return self._forward(np.stack([frames[s : s + _WINDOW_FRAMES] for s in starts]))

    def _spectrogram(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mel powers, float32 [frames, 40], as librosa's `melspectrogram` has them."""
        padded = np.pad(speech, _FFT_SAMPLES // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::_HOP_SAMPLES]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT_SAMPLES) / _FFT_SAMPLES)
        power = np.abs(np.fft.rfft(frames * hann)) ** 2
        return (power @ self._mels.T).astype(np.float32)

    def _forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        steps = batch.swapaxes(0, 1)  # [frames, windows, features]
        for layer in range(_LAYERS):
            steps = self._lstm(steps, layer)
        raw = steps[-1] @ self._weights["linear.weight"].T + self._weights["linear.bias"]
        positive = np.maximum(raw, 0)
        lengths = np.linalg.norm(positive, axis=1, keepdims=True)
        return (positive / np.maximum(lengths, 1e-9)).astype(np.float32)

    def _lstm(self, steps: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
        into, back = (self._weights[f"lstm.weight_{kind}_l{layer}"] for kind in ("ih", "hh"))
        bias = self._weights[f"lstm.bias_ih_l{layer}"] + self._weights[f"lstm.bias_hh_l{layer}"]
        hidden = np.zeros((steps.shape[1], back.shape[1]), np.float32)
        cell = hidden
        outputs = []
        for gate_in in steps @ into.T + bias:
            i, f, g, o = np.split(gate_in + hidden @ back.T, 4, axis=1)
            cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
            hidden = _sigmoid(o) * np.tanh(cell)
            outputs.append(hidden)
        return np.stack(outputs)


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))


def _levelled(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    rms = float(np.sqrt(np.square(speech, dtype=np.float64).mean()))
    return speech * np.float32(10 ** (_LEVEL_DBFS / 20) / max(rms, 1e-9))
