"""Gives memory that ended calls have left back to the machine."""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable


async def give_back() -> None:
    """Collects what an ended call leaves, and returns its pages to the system.

    A pipeline is full of cycles, and holds tens of megabytes of which Python's collector knows
    nothing: left to itself it would let dozens of ended calls pile up.
    """
    gc.collect()
    if _trim is not None:
        # Takes malloc's locks for milliseconds, and ctypes lets Python go on meanwhile.
        await asyncio.to_thread(_trim, 0)


def _find_trim() -> Callable[[int], int] | None:
    # glibc keeps what is freed in an arena per thread, and calls come and go on many threads:
    # how much stays resident would be a matter of chance. Other systems' malloc needs no telling.
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


_trim = _find_trim()
