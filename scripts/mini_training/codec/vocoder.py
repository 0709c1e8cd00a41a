"""Speech taken apart into pitch, envelope and noise, and put together with phases that we choose.

WORLD takes it apart (Morise et al. 2016, the pyworld package). Its own synthesis begins a voice at
whatever phase, so it is put together here: a pulse wherever the phase passes a whole number, with
the envelope's minimum phase, and noise shaped by the rest of the envelope.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ

HOP_SAMPLES = 120
"""Of the features: 5 ms."""

_FFT = 1_024
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 420.0
_FLOOR = 1e-16


@dataclass(frozen=True)
class Features:
    """What a sound consists of, every 5 ms.

    Attributes:
        pitch_hz: float64 [hops], 0 where nothing is voiced.
        envelope: float64 [hops, bins], power.
        noise: float64 [hops, bins], the share of the magnitude that is noise, 0 to 1.
    """

    pitch_hz: NDArray[np.float64]
    envelope: NDArray[np.float64]
    noise: NDArray[np.float64]


def taken_apart(audio: NDArray[np.float32]) -> Features:
    """The features of a sound [samples] at 24 kHz."""
    import pyworld

    sound = np.append(audio.astype(np.float64), np.zeros(HOP_SAMPLES))
    period_ms = 1e3 * HOP_SAMPLES / SAMPLE_RATE_HZ
    pitch, times = pyworld.dio(
        sound, SAMPLE_RATE_HZ, f0_floor=_LOWEST_HZ, f0_ceil=_HIGHEST_HZ, frame_period=period_ms
    )
    pitch = pyworld.stonemask(sound, pitch, times, SAMPLE_RATE_HZ)
    envelope = pyworld.cheaptrick(sound, pitch, times, SAMPLE_RATE_HZ, fft_size=_FFT)
    noise = pyworld.d4c(sound, pitch, times, SAMPLE_RATE_HZ, fft_size=_FFT)
    return Features(pitch, envelope, np.where(pitch[:, None] > 0, noise.clip(0, 1), 1.0))


def put_together(features: Features, phase: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """A sound with these features, as loud as what they came from only by and large.

    Args:
        features: Of the sound.
        phase: [samples] of the voice, in cycles, rising throughout; a pulse at each whole number,
            one of them before the first sample.
        seed: Of the noise.

    Returns:
        float32 [samples].
    """
    return (_voice(features, phase) + _noise(features, len(phase), seed)).astype(np.float32)


def _voice(features: Features, phase: NDArray[np.float64]) -> NDArray[np.float64]:
    samples = len(phase)
    whole = np.floor(phase)
    before = np.flatnonzero(np.diff(whole) > 0)
    share = (whole[before + 1] - phase[before]) / (phase[before + 1] - phase[before])
    at = np.concatenate([[0.0], before + share])
    period = np.diff(np.append(at, samples))
    hop = np.minimum((at / HOP_SAMPLES).round().astype(int), len(features.pitch_hz) - 1)
    voiced = features.pitch_hz[hop] > 0
    at, period, hop = at[voiced], period[voiced], hop[voiced]
    power = features.envelope[hop] * (1 - features.noise[hop] ** 2)
    spectrum = _minimum_phase(np.sqrt(power + _FLOOR)) * np.sqrt(period)[:, None]
    # What is left of a pulse's time below a sample turns its phases.
    turns = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1)[None] / _FFT * (at % 1)[:, None])
    made = np.zeros(samples + _FFT)
    for begin, pulse in zip(at.astype(int), np.fft.irfft(spectrum * turns, _FFT), strict=True):
        made[begin : begin + _FFT] += pulse
    return made[:samples]


def _minimum_phase(magnitudes: NDArray[np.float64]) -> NDArray[np.complex128]:
    cepstrum = np.fft.irfft(np.log(magnitudes), _FFT)
    cepstrum[:, 1 : _FFT // 2] *= 2
    cepstrum[:, _FFT // 2 + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum, _FFT))


def _noise(features: Features, samples: int, seed: int) -> NDArray[np.float64]:
    hops = samples // HOP_SAMPLES
    window = np.sqrt(np.hanning(2 * HOP_SAMPLES + 1)[:-1])  # its squares add up to 1
    white = np.random.default_rng(seed).standard_normal(samples + 2 * HOP_SAMPLES)
    pieces = np.lib.stride_tricks.sliding_window_view(white, len(window))[::HOP_SAMPLES][:hops]
    shape = np.sqrt(features.envelope[:hops]) * features.noise[:hops]
    made = np.zeros(samples + HOP_SAMPLES + _FFT)
    shaped = np.fft.irfft(np.fft.rfft(pieces * window, _FFT) * shape, _FFT)
    for hop, piece in enumerate(shaped):
        made[hop * HOP_SAMPLES : hop * HOP_SAMPLES + _FFT] += piece
    return made[HOP_SAMPLES : HOP_SAMPLES + samples]
