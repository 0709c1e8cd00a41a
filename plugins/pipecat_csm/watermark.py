"""A mark that a program finds in a clip and that is meant not to be heard: Resemble AI's Perth.

Sesame asks its users to keep the watermark in what CSM says. Its own, SilentCipher, wants a torch
of 2023 and weights from a hub; Perth (MIT) brings its weights, and is what Chatterbox marks with.
The mark says that a clip is synthetic, not who made it. Streams carry none: it wants a whole clip,
whose loudest moment decides where there is room for it.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from pipecat_csm.errors import AudioError, WatermarkError

# A clip with more than this is marked: one without stays below 0.1, one with it comes near 1.
THRESHOLD = 0.5

# Perth's own: its rate, its hop, and the shortest clip whose spectrum it can take.
_RATE_HZ = 32_000
_HOP_SAMPLES = 320
_SHORTEST_SAMPLES = 2_048
# Its memory grows with the clip, by 8 MB a second; long ones are marked in parts of about this
# length, which fade into each other.
_PART_SAMPLES = 30 * _RATE_HZ
_FADE_SAMPLES = 2_048


def check_installed() -> None:
    """Returns where a watermark can be made.

    Raises:
        WatermarkError: The package is not there; the sentence says how to install it.
    """
    _perth()


def apply(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Marks a clip.

    Args:
        samples: float [samples], within [-1, 1].
        sample_rate_hz: Of the samples; at least 8,000, since the mark lies below 2 kHz.

    Returns:
        float32 [samples], as many.

    Raises:
        AudioError: It is no sound.
        WatermarkError: The package is not there.
    """
    perth = _perth()
    sound = _at_perths_rate(samples, sample_rate_hz)
    marked = np.zeros_like(sound)
    for begin, end in _parts(len(sound)):
        part = _marked(perth, sound[begin : end + _FADE_SAMPLES])
        if begin:  # the last part's end fades out where this one fades in
            rising = np.linspace(0, 1, _FADE_SAMPLES, dtype=np.float32)
            part[:_FADE_SAMPLES] *= rising
            marked[begin : begin + _FADE_SAMPLES] *= 1 - rising
        marked[begin : begin + len(part)] += part
    back = soxr.resample(marked, _RATE_HZ, sample_rate_hz)[: len(samples)]
    return np.pad(back, (0, len(samples) - len(back)))


def detect(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    """How sure Perth is that a clip is marked: 0 to 1; see `THRESHOLD`.

    Args:
        samples: float [samples].
        sample_rate_hz: At least 8,000.

    Raises:
        AudioError: It is no sound.
        WatermarkError: The package is not there.
    """
    perth = _perth()
    sound = _at_perths_rate(samples, sample_rate_hz)
    found = [_confidence(perth, sound[begin:end]) for begin, end in _parts(len(sound))]
    # In silence there is nothing to look at.
    heard = [confidence for confidence in found if np.isfinite(confidence)]
    return float(np.mean(heard)) if heard else 0.0


@cache
def _perth() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports pkg_resources, which is deprecated
            # By the module's own name: `perth` itself hides what is missing, and on the package
            # index that name is something else.
            from perth.perth_net.perth_net_implicit.perth_watermarker import (  # pyright: ignore[reportMissingImports]
                PerthImplicitWatermarker,
            )
    except (ImportError, OSError) as error:  # OSError: torchaudio was built for another torch
        raise WatermarkError(
            f"A watermark needs packages that are not here ({error}): "
            "pip install 'csm-agent[watermark]'."
        ) from None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it has loaded
        return PerthImplicitWatermarker(device="cpu")


def _at_perths_rate(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    if not 8_000 <= sample_rate_hz <= 192_000:
        raise AudioError(f"A clip to be marked has 8,000 to 192,000 Hz, not {sample_rate_hz:,}.")
    if samples.ndim != 1 or samples.dtype.kind != "f" or not np.isfinite(samples).all():
        raise AudioError(
            f"A clip to be marked is finite floats [samples], not {samples.dtype} "
            f"{list(samples.shape)} or NaN."
        )
    return soxr.resample(samples.astype(np.float32), sample_rate_hz, _RATE_HZ)


def _parts(samples: int) -> Iterator[tuple[int, int]]:
    """Where each begins and ends; all are equally long, so that they count alike."""
    count = max(1, round(samples / _PART_SAMPLES))
    return pairwise(samples * number // count for number in range(count + 1))


def _marked(perth: Any, part: NDArray[np.float32]) -> NDArray[np.float32]:
    if not part.any():  # its spectrum and back is nothing only on some processors
        return part.copy()
    import torch

    with torch.inference_mode():
        return perth.apply_watermark(_padded(part), _RATE_HZ)[: len(part)]


def _confidence(perth: Any, part: NDArray[np.float32]) -> float:
    import torch

    with torch.inference_mode():
        return float(perth.get_watermark(_padded(part), _RATE_HZ, round=False))


def _padded(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """With zeros behind it, so that its spectrum covers all of it: Perth drops a broken hop."""
    length = max(_SHORTEST_SAMPLES, len(part))
    return np.pad(part, (0, length - len(part) + -length % _HOP_SAMPLES))
