"""The edge: any recording as the sound that CSM's codec takes."""

from fractions import Fraction
from numbers import Integral
from typing import TYPE_CHECKING

from pipecat_csm.errors import AudioError

if TYPE_CHECKING:
    import numpy as np
    import torch

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920
MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 192_000
MAX_CHANNELS = 32

# Callers come from whispering laptops and shouting phones; a context of one loudness keeps the
# model from taking loudness for expression. -23 dBFS over the voiced parts is the level of EBU R128
# and leaves speech, whose peaks lie 12 to 18 dB above it, room.
LOUDNESS_DBFS = -23.0

# More gain would lift a distant room to a voice; more loss is never needed.
_MAX_GAIN_DB = 20.0
_MIN_GAIN_DB = -30.0
# Voiced is what is within 20 dB of the loudest 20 ms; below -60 dBFS nobody spoke.
_HOP_SAMPLES = 480
_VOICED_LEVEL = 0.1
_SILENCE_LEVEL = 1e-3
# Floats beyond this were never sound in -1 to 1, but integers that someone only cast.
_MAX_FLOAT = 16.0
# Resampling takes memory with the denominator of the ratio of the rates. Every usual rate is exact
# (44,100 Hz is 147/80 of 24,000); others are met within 0.05 %, a hundredth of a semitone.
_MAX_DENOMINATOR = 1_000


def to_model_audio(
    audio: "torch.Tensor | np.ndarray",
    sample_rate_hz: int,
    *,
    loudness: float | None = LOUDNESS_DBFS,
    frame_samples: int = FRAME_SAMPLES,
) -> "torch.Tensor":
    """A recording as a Segment's audio: 24 kHz, mono, of one loudness, in whole frames.

    Args:
        audio: A tensor or array, [samples], [channels, samples] or [samples, channels] (the shorter
            axis are the channels; of two equal ones the first): int16, int32, or any float, whose
            full scale is 1.
        sample_rate_hz: 4,000 to 192,000.
        loudness: What the voiced parts are brought to, in dBFS RMS, by at most +20 or -30 dB;
            silence stays silence. None leaves it as it is, as comparisons with transformers need.
        frame_samples: Zeros at the end fill the last frame of this many samples.

    Returns:
        float32 [samples] in [-1, 1], on the audio's device.

    Raises:
        AudioError: It is empty, not finite, of another type or shape or an impossible rate; or it
            must be resampled and torchaudio is not installed.
    """
    import torch

    _check_rate(sample_rate_hz)
    samples = _mono(_floats(audio))
    if not samples.numel():
        raise AudioError("The audio is empty.")
    if not bool(samples.isfinite().all()):
        raise AudioError("The audio holds NaN or infinity.")
    peak = float(samples.abs().max())
    if peak > _MAX_FLOAT:
        raise AudioError(
            f"The audio's samples reach {peak:,.0f}, but the full scale of floats is 1; "
            "divide what was int16 by 32,768."
        )
    samples = _resampled(samples, sample_rate_hz)
    if loudness is not None:
        samples = samples * loudness_gain(samples, loudness)
    padding = -len(samples) % frame_samples
    return torch.nn.functional.pad(samples.clamp(-1.0, 1.0), (0, padding))


def _check_rate(rate_hz: int) -> None:
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, Integral):
        raise AudioError(f"A sample rate is a whole number of hertz, not {rate_hz!r}.")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"A sample rate lies between {MIN_RATE_HZ:,} and {MAX_RATE_HZ:,} Hz, "
            f"not at {rate_hz:,}."
        )


def _floats(audio: "torch.Tensor | np.ndarray") -> "torch.Tensor":
    """float32 of the same shape, the full scale at 1."""
    import numpy as np
    import torch

    if isinstance(audio, np.ndarray):
        if audio.dtype.kind not in "fi":
            raise AudioError(_wrong_type(str(audio.dtype)))
        # A copy that torch can take: of the machine's byte order, writable, of no odd float.
        dtype = np.float32 if audio.dtype.kind == "f" else audio.dtype.newbyteorder("=")
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused
            audio = torch.from_numpy(audio.astype(dtype, order="C"))
    if not isinstance(audio, torch.Tensor):
        raise AudioError(f"The audio is a {type(audio).__name__}, not a tensor or an array.")
    full_scale = {torch.int16: 2.0**15, torch.int32: 2.0**31}.get(audio.dtype)
    if full_scale is None and not audio.is_floating_point():
        raise AudioError(_wrong_type(str(audio.dtype).removeprefix("torch.")))
    samples = audio.detach().to(torch.float32)
    return samples if full_scale is None else samples / full_scale


def _wrong_type(dtype: str) -> str:
    return f"The audio's samples are {dtype}; int16, int32 and floats can be read."


def _mono(samples: "torch.Tensor") -> "torch.Tensor":
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2:
        raise AudioError(
            f"The audio has the shape {list(samples.shape)}; "
            "it should be [samples] or [channels, samples]."
        )
    axis = 0 if samples.shape[0] <= samples.shape[1] else 1
    if samples.shape[axis] > MAX_CHANNELS:
        raise AudioError(
            f"The audio has the shape {list(samples.shape)}, but not that many channels exist."
        )
    # No channels at all: no samples either, which the caller of this says better.
    return samples.mean(dim=axis) if samples.numel() else samples.flatten()


def _resampled(samples: "torch.Tensor", rate_hz: int) -> "torch.Tensor":
    ratio = Fraction(int(rate_hz), SAMPLE_RATE_HZ).limit_denominator(_MAX_DENOMINATOR)
    if ratio == 1:
        return samples
    try:
        from torchaudio.functional import resample
    except (ImportError, OSError):  # OSError: built for another torch
        raise AudioError(
            f"Sound at {rate_hz:,} Hz needs torchaudio to become {SAMPLE_RATE_HZ:,} Hz: install "
            'it with `pip install "csm-agent[csm]"`, or give sound at that rate.'
        ) from None
    return resample(samples, ratio.numerator, ratio.denominator)


def loudness_gain(samples: "torch.Tensor", loudness: float = LOUDNESS_DBFS) -> float:
    """What brings the voiced parts of a recording to a loudness, by at most +20 or -30 dB.

    Args:
        samples: float [samples] at 24 kHz.
        loudness: In dBFS RMS.

    Returns:
        A factor; 1 for silence.
    """
    import torch

    padded = torch.nn.functional.pad(samples, (0, -len(samples) % _HOP_SAMPLES))
    power = padded.reshape(-1, _HOP_SAMPLES).square().mean(dim=1)
    loudest = power.max()
    if float(loudest) < _SILENCE_LEVEL**2:
        return 1.0
    voiced = power[power >= _VOICED_LEVEL**2 * loudest].mean()
    gain_db = loudness - 10.0 * float(voiced.log10())
    return 10.0 ** (min(max(gain_db, _MIN_GAIN_DB), _MAX_GAIN_DB) / 20.0)
