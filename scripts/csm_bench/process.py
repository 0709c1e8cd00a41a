"""Runs jobs, each in a process of its own, within the time that there is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from scripts.csm_bench.plan import Job
from scripts.csm_bench.report import Report, Row
from scripts.csm_bench.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
# Less is not enough to load anything.
_LEAST_S = 5.0
# No job but the last one takes more of what is left: one that does not end leaves room for others.
_SHARE = 2 / 3
# Where there is no budget: nobody waits longer for one job.
_LONGEST_S = 3600.0


def run_jobs(
    jobs: list[Job],
    settings: Settings,
    report: Report,
    *,
    budget_s: float | None,
    say: Callable[[str], None],
) -> None:
    """Runs them one after the other; what there is no time for is left out.

    Args:
        jobs: The most important first.
        settings: For each of them.
        report: Gets the rows.
        budget_s: What is running then is stopped; None is no bound.
        say: Told of progress.
    """
    end = None if budget_s is None else time.monotonic() + budget_s
    # Compilers keep what they build on the disk: a start is cold if there is nothing of it yet.
    with tempfile.TemporaryDirectory(prefix="csm-bench-", ignore_cleanup_errors=True) as cache:
        for number, job in enumerate(jobs):
            left_s = _LONGEST_S if end is None else end - time.monotonic()
            if end is not None and number < len(jobs) - 1:
                left_s *= _SHARE
            if left_s < _LEAST_S:
                for measure in job.measures:
                    report.leave_out(job.label(measure))
                continue
            say(f"[{number + 1}/{len(jobs)}] {', '.join(job.measures)}: {job.variant}")
            _Run(job, report, say).run(settings, left_s, cache)


class _Run:
    """One job's process, and what it says."""

    def __init__(self, job: Job, report: Report, say: Callable[[str], None]) -> None:
        self._job, self._report, self._say = job, report, say
        self._left = list(job.measures)

    def run(self, settings: Settings, limit_s: float, cache: str) -> None:
        """Starts it, waits for its end, and notes what it did not get to."""
        words = [json.dumps(asdict(settings)), self._job.dump(), str(limit_s)]
        path = os.pathsep.join(
            x for x in (str(ROOT / "plugins"), os.environ.get("PYTHONPATH")) if x
        )
        caches = {"XDG_CACHE_HOME": cache, "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor"}
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.csm_bench.worker", *words],
            cwd=ROOT,
            env={**os.environ, **caches, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
            # Compilers start processes of their own, which must end with it.
            process_group=0,
        )
        listener = threading.Thread(target=self._listen, args=(process,))
        listener.start()
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            listener.join()
        self._conclude(code, limit_s)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if "row" in said:
                self._say(describe(self._report.add(Row.of(said["row"]))))
            else:
                self._left.remove(said["done"])

    def _conclude(self, code: int | None, limit_s: float) -> None:
        if code:
            measure = self._left.pop(0) if self._left else self._job.measures[-1]
            row = self._job.failure(measure, f"its process ended with {code}")
            self._say(describe(self._report.add(row)))
        for measure in self._left:
            stopped = f", stopped after {limit_s:.0f} s" if code is None else ""
            self._report.leave_out(self._job.label(measure) + stopped)


def describe(row: Row) -> str:
    """A row in a line."""
    figures = [f"{k} {v:,.4g}" if type(v) is float else f"{k} {v}" for k, v in row.figures.items()]
    return "; ".join(x for x in (f"{row.section}, {row.what}", ", ".join(figures), row.note) if x)
