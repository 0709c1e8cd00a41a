"""How fast a device reads its memory: what bounds the speech of one caller."""

from collections.abc import Callable

import torch
from pipecat_csm.model.native import NativeLinear
from pipecat_csm.model.native.library import kernels
from torch import Tensor

from scripts.csm_bench.settings import Settings
from scripts.csm_bench.timing import timed

# Larger than any cache; on a GPU large enough that starting a kernel is no part of the time.
_CPU_BYTES, _GPU_BYTES, _TINY_BYTES = 2**30, 2**32, 2**26
_COLUMNS = 2048
# Of a machine that others use too, the best moment counts.
_TIMES = 20


def bandwidth(settings: Settings) -> float:
    """Bytes per second that the device reads, at best, whatever reads them."""
    size = _GPU_BYTES if settings.cuda else _CPU_BYTES
    size = _TINY_BYTES if settings.tiny else size
    data = torch.ones(size // 4, device=settings.device)
    # To start a kernel and to wait for it takes time of its own.
    speed = _speed(data.sum, data, at_once=10 if settings.cuda else 1)
    del data
    if settings.cuda:
        # What was read is no part of what the model takes.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(settings.device)
    elif kernels() is not None:
        speed = max(speed, _speed_of_kernels(size))
    return speed


def _speed_of_kernels(size: int) -> float:
    """Of our own, for a single row: they read a CPU's memory faster than torch's."""
    rows, kind = size // 2 // _COLUMNS, torch.bfloat16
    matrix = NativeLinear(torch.ones(1, _COLUMNS, dtype=kind).expand(rows, -1), "bfloat16")
    row = torch.ones(1, _COLUMNS, dtype=kind)
    return _speed(lambda: matrix(row), matrix.packed, at_once=1)


def _speed(read: Callable[[], Tensor], data: Tensor, *, at_once: int) -> float:
    def reads() -> None:
        for _ in range(at_once):
            read()

    best_ms = min(timed(reads, _TIMES, data.device))
    return at_once * data.numel() * data.element_size() / best_ms * 1e3
