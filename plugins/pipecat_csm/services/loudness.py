"""How loud speech is, moment by moment and in a few bands, beside its own loudest."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24_000
HOP_S = 0.02
BANDS = 4
QUIETEST_DB = -45.0
"""Whatever is quieter counts as silence."""

UNKNOWN_LEVEL_DB = -35.0
"""Less than speech has at its loudest, in dBFS: what is assumed until it has been heard."""

_HOP = round(HOP_S * SAMPLE_RATE_HZ)
_WINDOW = 2 * _HOP
# Voicing and low vowels, open vowels, front vowels, hiss.
_EDGES_HZ = (80, 500, 1_400, 3_500, 9_000)
_HANN = np.hanning(_WINDOW + 2)[1:-1]
_BIN_HZ = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE_HZ)
_IN_BAND = [(low <= _BIN_HZ) & (high > _BIN_HZ) for low, high in pairwise(_EDGES_HZ)]
_BAND_OF_BIN = np.stack(_IN_BAND, axis=1) * (2 / (_WINDOW * np.sum(_HANN**2)))
_LEVEL_HOPS = 5
_NOISE_HOPS = 3
# Steady noise is taken away twice over, as its loudest moments matter; but what is hardly quieter
# than the speech is speech.
_NOISE_FACTOR = 2.0
_MOST_NOISE_DB = -12.0
_TINY = 1e-12


class Loudness:
    """Measures 24 kHz audio as it comes, in hops of 20 ms whose middles lie 20 ms apart."""

    def __init__(self, level_db: float = UNKNOWN_LEVEL_DB) -> None:
        """Has heard nothing.

        Args:
            level_db: In dBFS, what the loudest 0.1 s will at least have.
        """
        self._least_level = 10 ** (level_db / 10)
        # Half a window of silence before the first sample: so hop i is about the moment i * HOP_S.
        self._rest = np.zeros(_WINDOW - _HOP, np.float32)
        self._powers: list[NDArray[np.floating]] = []
        self._recent = np.zeros((0, BANDS))
        self._noise = np.full(BANDS, np.inf)
        self._loudest = _TINY

    @property
    def level_db(self) -> float:
        """Of the loudest 0.1 s until now, in dBFS."""
        return 10 * float(np.log10(self._loudest))

    def feed(self, samples: NDArray[np.floating]) -> NDArray[np.floating]:
        """Takes what comes next.

        Args:
            samples: [samples], at full scale 1.

        Returns:
            [new hops, BANDS] dB below the loudest that was heard until each, noise taken away.
        """
        sound = np.concatenate([self._rest, samples])
        hops = max((len(sound) - _WINDOW) // _HOP + 1, 0)
        self._rest = sound[hops * _HOP :]
        if not hops:
            return np.zeros((0, BANDS))
        windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP][:hops]
        powers = np.abs(np.fft.rfft(windows * _HANN)) ** 2 @ _BAND_OF_BIN
        self._powers.append(powers)
        recent = np.concatenate([self._recent, powers])
        self._recent = recent[1 - _LEVEL_HOPS :]
        # As if the first moment had lasted.
        recent = np.pad(recent, ((hops + _LEVEL_HOPS - 1 - len(recent), 0), (0, 0)), mode="edge")
        means = np.lib.stride_tricks.sliding_window_view(recent, _NOISE_HOPS, axis=0).mean(axis=2)
        noise = np.minimum.accumulate(np.minimum(means[-hops:], self._noise))
        sums = np.lib.stride_tricks.sliding_window_view(recent.sum(axis=1), _LEVEL_HOPS).sum(axis=1)
        loudest = np.maximum.accumulate(np.maximum(sums / _LEVEL_HOPS, self._loudest))
        self._noise, self._loudest = noise[-1], float(loudest[-1])
        return _relative(powers, noise, np.maximum(loudest, self._least_level)[:, None])

    def as_known_now(self) -> NDArray[np.floating]:
        """Every hop until now, [hops, BANDS] as in `feed`, beside the loudest of all of them."""
        if not self._powers:
            return np.zeros((0, BANDS))
        return _relative(np.concatenate(self._powers), self._noise, self._loudest)


def _relative(
    powers: NDArray[np.floating],
    noise: NDArray[np.floating],
    level: NDArray[np.floating] | float,
) -> NDArray[np.floating]:
    noise = np.minimum(noise, level * 10 ** (_MOST_NOISE_DB / 10))
    voice = np.maximum(powers - _NOISE_FACTOR * noise, _TINY)
    return np.maximum(10 * np.log10(voice / level), QUIETEST_DB)
