"""A process that makes one job's measurements: `python -m scripts.csm_bench.worker`.

Each job has a process of its own, so that cold is cold, its memory is its own, and what crashes or
never ends takes nothing else with it.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TextIO

from transformers.utils import logging

from scripts.csm_bench import (
    first_audio,
    frame,
    launches,
    memory,
    rebuild,
    reference,
    sessions,
    start,
)
from scripts.csm_bench.plan import TRANSFORMERS, Job
from scripts.csm_bench.report import Row
from scripts.csm_bench.settings import Settings
from scripts.csm_bench.shapes import shape
from scripts.csm_bench.subject import Subject

_LONGEST_REASON = 200


def main() -> int:
    """Measures; writes a line of JSON for each row, and for each measurement that is done."""
    settings = Settings.of(json.loads(sys.argv[1]))
    job, left_s = Job.parse(sys.argv[2]), float(sys.argv[3])
    # Libraries print to the standard output as they like: it becomes the standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.set_verbosity_error()
    subject = Subject(settings, shape(tiny=settings.tiny), job.variant, time.monotonic() + left_s)
    for measure in job.measures:
        if subject.left_s < 0:
            break
        succeeded = _run(job, measure, subject, out)
        _write(out, {"done": measure})
        if measure == "start" and not succeeded:
            break  # nothing else would
    return 0


def _run(job: Job, measure: str, subject: Subject, out: TextIO) -> bool:
    try:
        for row in _MEASURES[measure](subject):
            _write(out, {"row": row.as_json()})
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0][:_LONGEST_REASON]}"
        _write(out, {"row": job.failure(measure, reason).as_json()})
        return False
    return True


def _write(out: TextIO, line: dict[str, object]) -> None:
    print(json.dumps(line), file=out, flush=True)


def _second_start(subject: Subject) -> Iterator[Row]:
    for row in start.measure(subject):
        yield replace(row, note="with what an earlier start left on the disk")


def _transformers(subject: Subject) -> Iterator[Row]:
    return reference.measure(subject.settings, subject.shape, subject.variant)


_MEASURES: dict[str, Callable[[Subject], Iterator[Row]]] = {
    "floor": frame.measure_floor,
    "start": start.measure,
    "second start": _second_start,
    "frames": frame.measure,
    "first audio": first_audio.measure,
    "work": launches.measure,
    "rebuild": rebuild.measure,
    "memory": memory.measure,
    "sessions": sessions.measure,
    TRANSFORMERS: _transformers,
}


if __name__ == "__main__":
    sys.exit(main())
