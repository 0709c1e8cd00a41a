"""Taking times, and what to say of them."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch


def timed(work: Callable[[], Any], times: int, device: str | torch.device) -> Iterator[float]:
    """Milliseconds of each of so many calls, the device's work included."""
    for _ in range(times):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        yield (time.perf_counter() - began) * 1e3


def synchronize(device: str | torch.device) -> None:
    """Waits until the device has done what it was given."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def typical(times_ms: Iterable[float]) -> dict[str, float]:
    """The median and the 99th percentile; of fewer than 100 times the latter is the largest."""
    ordered = sorted(times_ms)
    rank = math.ceil(len(ordered) * 0.99)
    return {"ms": statistics.median(ordered), "p99_ms": ordered[rank - 1]}
