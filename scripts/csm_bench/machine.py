"""The machine: its name, and its memory."""

import datetime
import os
import platform
import resource
from pathlib import Path
from typing import Any

import torch
import transformers

from scripts.csm_bench.settings import Settings


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
