"""Cold: what a fresh process needs before its first sound, once its weights are there."""

import sys
import time
from collections.abc import Iterator

from pipecat_csm.engine.rows import cut
from pipecat_csm.engine.runner import Runner, SamplingOptions

from scripts.csm_bench.report import Row
from scripts.csm_bench.subject import TEXT_ROWS, Subject, noise_rows, silence, take
from scripts.csm_bench.timing import synchronize, timed


def measure(subject: Subject) -> Iterator[Row]:
    """The warm-up for one session, and the very first reply, with nothing resident."""
    device, runner, note = subject.settings.device, subject.runner, ""
    began = time.perf_counter()
    if subject.is_whole:
        note = "not warmed up: what is built is so at its first step"
    else:
        runner.warm_up(1, _show)
        subject.warmed = True
    synchronize(device)
    warm_up_s = time.perf_counter() - began
    (first_ms,) = timed(lambda: _reply(runner), 1, device)
    silence(runner)
    figures = {"warm_up_s": warm_up_s, "first_ms": first_ms}
    if subject.is_native or subject.settings.quantize:
        figures["packing_s"] = subject.packing_s
    figures["cold_s"] = subject.packing_s + warm_up_s + first_ms / 1e3
    yield Row("start", subject.variant, figures, note)


def _reply(runner: Runner) -> None:
    """From a text to the first frame."""
    text = noise_rows(runner, TEXT_ROWS)
    for _ in runner.prefill(0, cut(text, 0, -1), 0):
        pass
    runner.begin(0, cut(text, -1), SamplingOptions(), segment=0, frames=runner.positions)
    take(runner.step())


def _show(done: int, total: int) -> None:
    print(
        f"\rwarm-up {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True
    )
