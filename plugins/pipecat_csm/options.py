"""The numbers and lists of the Python API, checked before anything is begun."""

import math
import secrets
from collections.abc import Iterable
from numbers import Integral, Real

from pipecat_csm.checks import check_number
from pipecat_csm.errors import ContextError
from pipecat_csm.model.config import FRAME_HZ
from pipecat_csm.model.sampling import MAX_TOP_K, SamplingOptions
from pipecat_csm.segment import Segment


def sampling_options(
    temperature: float, topk: int, min_p: float, seed: int | None
) -> SamplingOptions:
    """How to sample; without a seed another way each time.

    Raises:
        OptionError: A number makes no sense.
    """
    check_number("topk", topk, Integral, 0, MAX_TOP_K)  # as whoever gave it calls it
    return SamplingOptions(temperature, topk, min_p, secrets.randbits(63) if seed is None else seed)


def frames_in(max_audio_length_ms: float) -> float:
    """As many frames as a length holds; of a length without end, infinitely many.

    Raises:
        OptionError: It is none.
    """
    check_number("max_audio_length_ms", max_audio_length_ms, Real, 0, math.inf)
    frames = max_audio_length_ms / 1000 * FRAME_HZ
    return frames if math.isinf(frames) else max(1, int(frames))


def check_frames(max_frames: int) -> None:
    """Raises an `OptionError` unless it is a number of frames."""
    check_number("max_frames", max_frames, Integral, 1, math.inf)


def segments(given: Iterable[Segment], name: str) -> list[Segment]:
    """A list of Segments, whatever holds them.

    Raises:
        ContextError: It is not what it should be.
    """
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise ContextError(f"{name} is a list of Segments, not a {type(given).__name__}.")
    found = list(given)
    for thing in found:
        if not isinstance(thing, Segment):
            raise ContextError(f"{name} is a list of Segments, not of {type(thing).__name__}.")
    return found
