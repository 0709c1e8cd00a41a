"""A device whose memory is used up, in words."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipecat_csm.errors import DeviceMemoryError

# CUDA's own allocations, and those of CPUs on Linux and Windows, fail as plain RuntimeErrors.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def in_words(error: Exception, doing: str) -> Exception:
    """The error itself, or, where memory ran out, one that says so and what to do.

    Args:
        error: What was caught.
        doing: What the device did, as "while it spoke".
    """
    if not _is_out_of_memory(error):
        return error
    # The error remembers the functions that it went through, and they what did fit.
    traceback.clear_frames(error.__traceback__)
    return DeviceMemoryError(
        f"The device ran out of memory {doing}; hold fewer sessions, give shorter contexts and "
        "references, or use another device."
    )


@contextmanager
def memory_in_words(doing: str) -> Iterator[None]:
    """Raises what is raised inside as `in_words` has it.

    Raises:
        DeviceMemoryError: Memory ran out inside.
    """
    try:
        yield
    except Exception as error:
        said = in_words(error, doing)
        if said is error:
            raise
        raise said from None


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
