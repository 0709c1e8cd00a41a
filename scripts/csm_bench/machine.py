"""The machine: its name, its memory, and how fast it reads that."""

import datetime
import os
import platform
import resource
from pathlib import Path
from typing import Any

import torch
import transformers

from scripts.csm_bench.settings import Settings
from scripts.csm_bench.timing import timed

# Larger than any cache; on a GPU large enough that starting a kernel is no part of the time.
_CPU_FLOATS, _GPU_FLOATS = 2**28, 2**30
_TINY_FLOATS = 2**24


def about(settings: Settings) -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "shape": "tiny" if settings.tiny else "CSM-1B",
        "machine": name(settings),
        "dtype": settings.quantize or settings.dtype,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "settings": settings.__dict__,
    }


def name(settings: Settings) -> str:
    """The hardware, in words."""
    if settings.cuda:
        gpu = torch.cuda.get_device_properties(settings.device)
        return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    cpuinfo = Path("/proc/cpuinfo")
    processor = platform.processor() or platform.machine()
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        processor = lines[0].split(":")[1].strip() if lines else processor
    return f"{os.cpu_count()} cores of {processor}, {torch.get_num_threads()} threads"


def bandwidth(settings: Settings) -> float:
    """Bytes per second that the device reads from its memory, at best."""
    cpu, gpu = (_TINY_FLOATS,) * 2 if settings.tiny else (_CPU_FLOATS, _GPU_FLOATS)
    speed = _reading_speed(gpu if settings.cuda else cpu, settings.device)
    if settings.cuda:
        # What was read is no part of what the model takes.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(settings.device)
    return speed


def _reading_speed(floats: int, device: str) -> float:
    data = torch.ones(floats, device=device)
    # To start a kernel and to wait for it takes time of its own.
    at_once = 1 if data.is_cpu else 10

    def read() -> None:
        for _ in range(at_once):
            data.sum()

    best_ms = min(timed(read, 10, device))
    return at_once * data.numel() * data.element_size() / best_ms * 1e3


def free_bytes(settings: Settings) -> int:
    """Memory of the device that nobody uses."""
    if settings.cuda:
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(settings.device)[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def peak_bytes(settings: Settings) -> int:
    """The most memory that this process has held: torch's on a GPU, else all of it."""
    if settings.cuda:
        return torch.cuda.max_memory_reserved(settings.device)
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
