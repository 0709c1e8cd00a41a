"""What the host asks for to have one frame made, counted by torch's profiler."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from torch.profiler import ProfilerActivity, profile

from scripts.csm_bench.frame import bytes_per_frame
from scripts.csm_bench.report import Row
from scripts.csm_bench.subject import Subject, lap, seat, silence
from scripts.csm_bench.timing import synchronize

_STEPS = 4
_RESIDENT = 500
_BUILT = "and what inductor has built, which runs outside of torch's operators"
_UNCOUNTED = {
    "native": "and our own kernels, which are none of torch's operators",
    "layers": _BUILT,
    "max-autotune": _BUILT,
}


def measure(subject: Subject) -> Iterator[Row]:
    """Per frame of one session: on CUDA launches and kernels, on a CPU calls of operators."""
    runner, settings = subject.runner, subject.settings
    context = settings.contexts[0] if subject.is_whole else _RESIDENT
    seat(runner, 1, context, _STEPS)
    lap(runner, 1, context, _STEPS)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * settings.cuda
    with profile(activities=activities, acc_events=True) as found:
        for _ in range(_STEPS):
            runner.step()
        synchronize(settings.device)
    silence(runner)
    count = count_cuda if settings.cuda else count_cpu
    figures = {name: number / _STEPS for name, number in count(found.events() or []).items()}
    figures["bytes"] = bytes_per_frame(subject.model, context)
    note = "" if settings.cuda else _UNCOUNTED.get(subject.variant, "")
    yield Row("work", subject.variant, figures, note)


def count_cuda(events: Iterable[Any]) -> dict[str, int]:
    """Launches by the host, and what ran on the GPU for them.

    Args:
        events: The profiler's, of the host and the device.
    """
    found = Counter()
    for event in events:
        if event.device_type.name == "CUDA":
            if event.is_user_annotation:
                continue  # a name that spans kernels, which are there themselves
            moved = event.name.startswith(("Memcpy", "Memset"))
            found["moves" if moved else "kernels"] += 1
        elif event.name.startswith("cudaGraphLaunch"):
            found["graph_launches"] += 1
        elif event.name.startswith(("cudaLaunchKernel", "cuLaunchKernel")):
            found["kernel_launches"] += 1
    return {name: found[name] for name in ("graph_launches", "kernel_launches", "kernels", "moves")}


def count_cpu(events: Iterable[Any]) -> dict[str, int]:
    """Calls of torch's operators that no other operator made.

    Args:
        events: The profiler's.
    """
    return {"operators": sum(_is_operator(event) and not _within(event) for event in events)}


def _is_operator(event: Any) -> bool:
    return event.name.startswith("aten::")


def _within(event: Any) -> bool:
    parent = event.cpu_parent
    while parent is not None and not _is_operator(parent):
        parent = parent.cpu_parent
    return parent is not None
