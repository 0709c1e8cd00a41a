"""How many sessions keep up with real time at once."""

import gc
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from scripts.csm_bench.machine import free_bytes
from scripts.csm_bench.memory import session_bytes
from scripts.csm_bench.report import FRAME_MS, Row
from scripts.csm_bench.subject import Subject, lap, seat, take
from scripts.csm_bench.timing import timed, typical

_RESIDENT = 500
# The rest is for what a step needs besides the sessions' state.
_SHARE_OF_FREE = 0.7
# The answer may be too low by a sixteenth.
_RESOLUTION = 16


@dataclass(frozen=True)
class Attempt:
    """So many sessions, and the times of their frames."""

    sessions: int
    ms: float
    p99_ms: float

    @property
    def holds(self) -> bool:
        """Whether every frame came in time."""
        return self.p99_ms < FRAME_MS


def measure(subject: Subject) -> Iterator[Row]:
    """Each number that was tried, and last the largest that held."""
    bound, why = _bound(subject)
    attempts: list[Attempt] = []
    while number := next_number({a.sessions: a.holds for a in attempts}, bound):
        if attempts and subject.left_s < _expected_s(attempts[-1], number, subject):
            why = "the time was up"
            break
        try:
            attempts.append(attempt(subject, number))
            _forget()
        except torch.OutOfMemoryError:
            why = "memory"
            break
        yield _row(attempts[-1], subject.variant)
    yield _result(attempts, subject.variant, why)


def next_number(held: Mapping[int, bool], bound: int) -> int | None:
    """What to try next: twice as many until they fail, then what is in between.

    Args:
        held: What was tried, and whether it held.
        bound: No more can be tried.

    Returns:
        None when the answer is known, to a sixteenth.
    """
    good = max((number for number, holds in held.items() if holds), default=0)
    bad = min((number for number, holds in held.items() if not holds and number > good), default=0)
    if not bad:
        number = min(max(1, 2 * good), bound)
        return number if number > good else None
    return (good + bad) // 2 if bad - good > max(1, good // _RESOLUTION) else None


def attempt(subject: Subject, sessions: int) -> Attempt:
    """Has so many speak at once, on a runner of just as many slots."""
    frames = subject.settings.session_frames
    runner = subject.new_runner(sessions)
    seat(runner, sessions, _RESIDENT, frames)
    lap(runner, sessions, _RESIDENT, frames)
    times = timed(lambda: take(runner.step()), frames, subject.settings.device)
    return Attempt(sessions, **typical(times))


def _forget() -> None:
    """Has the device forget a runner that nobody has any more, and its graphs."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _bound(subject: Subject) -> tuple[int, str]:
    settings = subject.settings
    one = session_bytes(subject.new_runner(1))
    fit = math.floor(_SHARE_OF_FREE * free_bytes(settings) / one)
    if fit < settings.max_sessions:
        return fit, "memory"
    return settings.max_sessions, "no more were to be tried"


def _expected_s(last: Attempt, sessions: int, subject: Subject) -> float:
    return last.ms / 1e3 * sessions / last.sessions * subject.settings.session_frames


def _row(attempt: Attempt, variant: str) -> Row:
    figures = {"sessions": attempt.sessions, "ms": attempt.ms, "p99_ms": attempt.p99_ms}
    return Row("sessions", variant, {**figures, "holds": attempt.holds})


def _result(attempts: list[Attempt], variant: str, why: str) -> Row:
    held = max((a for a in attempts if a.holds), key=lambda a: a.sessions, default=None)
    failed = min((a for a in attempts if not a.holds), key=lambda a: a.sessions, default=None)
    if failed is None:
        note = f"and perhaps more: {why}"
    else:
        times = failed.p99_ms / FRAME_MS
        note = f"{failed.sessions}: p99 {failed.p99_ms:.1f} ms, {times:.2f} times what it may be"
    if held is None:
        return Row("sustained", variant, {"sessions": 0}, note)
    figures = {"sessions": held.sessions, "ms": held.ms, "p99_ms": held.p99_ms}
    return Row("sustained", variant, figures, note)
