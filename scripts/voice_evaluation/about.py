"""What the figures belong to: the voice, the machine, the day."""

import argparse
import datetime
import os
import platform
from pathlib import Path
from typing import Any


def about(args: argparse.Namespace) -> dict[str, Any]:
    """All of it, from the command line and the machine."""
    return {
        "voice": _voice(args),
        "machine": _machine(args),
        "date": datetime.date.today().isoformat(),
        "whisper": args.whisper,
        "seed": args.seed,
        "python": platform.python_version(),
    }


def _voice(args: argparse.Namespace) -> str:
    if args.checkpoint is None:
        return "Kokoro" if args.voice == "kokoro" else f"Kokoro's {args.voice}"
    how = args.quantize or args.dtype
    return f"CSM {args.checkpoint}" + (f" in {how}" if how else "")


def _machine(args: argparse.Namespace) -> str:
    import torch

    if args.checkpoint and torch.cuda.is_available() and args.device in (None, "cuda"):
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores of {processor}"
