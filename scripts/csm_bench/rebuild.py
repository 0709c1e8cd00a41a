"""A context whose oldest Segments have left, read anew on a spare slot while somebody speaks."""

import statistics
import time
from collections.abc import Iterator

from scripts.csm_bench.frame import step_times
from scripts.csm_bench.report import Row
from scripts.csm_bench.subject import Subject, noise_rows, read, seat, silence, take
from scripts.csm_bench.timing import synchronize, timed

# About as many stay (`engine/window.py`), and a session speaks meanwhile with as many resident.
_STAY, _RESIDENT = 1_024, 500


def measure(subject: Subject) -> Iterator[Row]:
    """How long it takes, and how long the one who speaks waits for a frame meanwhile.

    As the engine does it: a chunk, then a step, then the next chunk.
    """
    runner, device = subject.runner, subject.settings.device
    spare = runner.slots - 1
    usual = statistics.median(step_times(subject, _RESIDENT))
    # The first time something may be built.
    alone = min(timed(lambda: read(runner, spare, _STAY), 2, device))
    seat(runner, 1, _RESIDENT, 16)
    chunks, gaps = runner.prefill(spare, noise_rows(runner, _STAY), 0), []
    done = False
    while not done:
        synchronize(device)
        began = time.perf_counter()
        done = next(chunks, _END) is _END
        take(runner.step())
        synchronize(device)
        gaps.append((time.perf_counter() - began) * 1e3)
    silence(runner)
    copy = min(timed(lambda: runner.copy(spare, 0, _STAY), 3, device))
    figures = {
        "positions": _STAY,
        "alone_ms": alone,
        "live_ms": sum(gaps),
        "usual_ms": usual,
        "gap_ms": max(gaps),
        "copy_ms": copy,
    }
    yield Row("rebuild", subject.variant, figures)


_END = object()
