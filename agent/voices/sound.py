"""What can be measured of a recording without knowing that it is speech."""

import numpy as np
from numpy.typing import NDArray
from pipecat_csm.audio import LOUDNESS_DBFS

# The plugin's own measure of loudness (pipecat_csm.audio), here without torch.
_HOP_S = 0.02
_VOICED_LEVEL = 0.1
_SILENCE_LEVEL = 1e-3
_MAX_GAIN_DB, _MIN_GAIN_DB = 20.0, -30.0
_HEADROOM = 0.99

# Clipping leaves flat tops: samples next to the largest, many of them.
_TOP = 0.98
_FLAT_SAMPLES = 3

_SPECTRUM_S = 0.032
# A band this far below the loudest one holds nothing that could be heard.
_FLOOR_DB = 60.0
_BAND_HZ = 250.0


def peak(samples: NDArray[np.float32]) -> float:
    """The largest absolute sample, of any shape."""
    return float(np.abs(samples).max(initial=0.0))


def clipped_share(samples: NDArray[np.float32]) -> float:
    """The share of samples in flat tops, 0 to 1.

    Relative to the recording's own peak: what was clipped may have been made quieter since. What
    was resampled since, or made an MP3, has round tops again and is not found.

    Args:
        samples: float32 [samples, channels], not resampled, which would round the tops.
    """
    top = _TOP * peak(samples)
    if not top:
        return 0.0
    return max(_flat_share(channel, top) for channel in samples.T)


def _flat_share(channel: NDArray[np.float32], top: float) -> float:
    high = np.abs(channel) >= top
    edges = np.flatnonzero(np.diff(high.astype(np.int8), prepend=0, append=0))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= _FLAT_SAMPLES].sum()) / len(channel)


def loudness_dbfs(samples: NDArray[np.float32], rate_hz: int) -> float | None:
    """RMS of the voiced parts in dBFS; None for silence.

    Args:
        samples: float32 [samples].
        rate_hz: Of the samples.
    """
    hop = int(_HOP_S * rate_hz)
    padded = np.pad(samples, (0, -len(samples) % hop)).astype(np.float64)
    power = np.square(padded).reshape(-1, hop).mean(axis=1)
    loudest = power.max(initial=0.0)
    if loudest < _SILENCE_LEVEL**2:
        return None
    return 10 * float(np.log10(power[power >= _VOICED_LEVEL**2 * loudest].mean()))


def levelled(samples: NDArray[np.float32], rate_hz: int) -> tuple[NDArray[np.float32], float]:
    """The recording at the loudness that CSM's context has, and by how many dB it was raised.

    At most +20 or -30 dB, and never into clipping. Silence stays silence.
    """
    loudness = loudness_dbfs(samples, rate_hz)
    if loudness is None:
        return samples, 0.0
    room_db = 20 * float(np.log10(_HEADROOM / peak(samples)))
    gain_db = min(max(LOUDNESS_DBFS - loudness, _MIN_GAIN_DB), _MAX_GAIN_DB, room_db)
    return samples * np.float32(10 ** (gain_db / 20)), gain_db


def bandwidth_hz(samples: NDArray[np.float32], rate_hz: int) -> float:
    """Up to which frequency there is sound.

    Telephones and low bit rates cut speech off; a higher sample rate does not bring it back. It is
    looked for in the loudest moments of each band, so that a recording whose only "s" is short has
    its full width.

    Args:
        samples: float32 [samples].
        rate_hz: Of the samples.
    """
    size = int(_SPECTRUM_S * rate_hz)
    if len(samples) < size:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    loud = np.quantile(power, 0.95, axis=0)
    per_band = max(1, round(_BAND_HZ * size / rate_hz))
    bands = loud[: len(loud) // per_band * per_band].reshape(-1, per_band).mean(axis=1)
    if not bands.max(initial=0.0):
        return 0.0
    heard = np.flatnonzero(bands > bands.max() * 10 ** (-_FLOOR_DB / 10))
    return float((heard[-1] + 1) * per_band * rate_hz / size)
