"""The numbers and lists of the Python API, checked before anything is begun."""

import math
import secrets
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from pipecat_csm.engine.runner import SamplingOptions
from pipecat_csm.errors import ContextError, OptionError
from pipecat_csm.model.config import FRAME_HZ
from pipecat_csm.segment import Segment

# Beyond them nothing changes any more.
MAX_TEMPERATURE = 1_000
MAX_TOPK = 1_000_000


def sampling_options(
    temperature: float, topk: int, min_p: float, seed: int | None
) -> SamplingOptions:
    """How to sample; without a seed another way each time.

    Raises:
        OptionError: A number makes no sense.
    """
    _check("temperature", temperature, Real, 0, MAX_TEMPERATURE)
    _check("topk", topk, Integral, 0, MAX_TOPK)
    _check("min_p", min_p, Real, 0, 1)
    if seed is None:
        seed = secrets.randbits(63)
    elif not isinstance(seed, Integral):
        raise OptionError(f"seed is a whole number, not {seed!r}.")
    return SamplingOptions(float(temperature), int(topk), float(min_p), int(seed))


def frames_in(max_audio_length_ms: float) -> float:
    """As many frames as a length holds; of a length without end, infinitely many.

    Raises:
        OptionError: It is none.
    """
    _check("max_audio_length_ms", max_audio_length_ms, Real, 0, math.inf)
    frames = max_audio_length_ms / 1000 * FRAME_HZ
    return frames if math.isinf(frames) else max(1, int(frames))


def check_frames(max_frames: int) -> None:
    """Raises an `OptionError` unless it is a number of frames."""
    _check("max_frames", max_frames, Integral, 1, math.inf)


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


def _check(name: str, value: Any, kind: type, least: float, most: float) -> None:
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
        number = "a whole number" if kind is Integral else "a number"
        bound = f"from {least} on" if most == math.inf else f"from {least} to {most:,}"
        raise OptionError(f"{name} is {number} {bound}, not {value!r}.")
