"""The loop works by the clock, remembers, averages and knows when to stop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.mini_training.learning import Plan, learn, load, rate_share
from tests.scripts.mini_training.conftest import silent_progress

PLAN = Plan(minutes=0.01, rate=0.1, check_s=1e9)


class Counter:
    """Learns to count."""

    def __init__(self) -> None:
        self.count = 0

    def state(self) -> dict[str, Any]:
        return {"count": self.count}

    def resume(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Line:
    """Learns that 3 is the answer; what is held out may say otherwise."""

    def __init__(self, held_out: float | None = None) -> None:
        self.model = nn.Linear(1, 1)
        nn.init.zeros_(self.model.weight)
        nn.init.zeros_(self.model.bias)
        self.drawn: list[float] = []
        self.looks = 0
        self.companion: Counter | None = None
        self._held_out = held_out

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        self.drawn.append(torch.rand(1).item())
        if self.companion is not None:
            self.companion.count += 1
        loss = (self.model(torch.ones(1)) - 3).square().mean()
        return loss, {"loss": loss.item()}

    def held_out(self, model: nn.Module) -> dict[str, float]:
        self.looks += 1
        if self._held_out is not None:
            return {"loss": self._held_out}
        return {"loss": (model(torch.ones(1)) - 3).square().item()}


def test_the_rate_rises_at_once_and_falls_to_next_to_nothing():
    shares = [rate_share(share) for share in (0.0, 0.01, 0.02, 0.5, 1.0, 1.5)]
    assert shares[0] < shares[1] < shares[2] == pytest.approx(1.0)
    assert shares[2] > shares[3] > shares[4] == shares[5] == pytest.approx(0.03)


def test_it_learns_until_the_time_is_over_and_keeps_the_best(tmp_path: Path):
    task = Line()
    assert learn(task, PLAN, tmp_path / "line.pt", silent_progress())
    assert task.held_out(task.model)["loss"] < 1
    best = load(tmp_path / "line.best.pt")["model"]
    assert best["bias"].equal(task.model.bias)
    assert load(tmp_path / "line.pt")["numbers"][1] >= 0.6


def test_a_run_in_two_parts_draws_as_one_without_a_pause(tmp_path: Path):
    whole, parts = Line(), (Line(), Line())
    learn(whole, replace(PLAN, most_steps=6), tmp_path / "whole.pt", silent_progress())
    for task, steps in zip(parts, (2, 4), strict=True):
        learn(task, replace(PLAN, most_steps=steps), tmp_path / "parts.pt", silent_progress())
    assert parts[0].drawn + parts[1].drawn == whole.drawn


def test_a_companion_goes_on_too(tmp_path: Path):
    for steps in (2, 4):
        task = Line()
        task.companion = Counter()
        learn(task, replace(PLAN, most_steps=steps), tmp_path / "line.pt", silent_progress())
    assert task.companion.count == 6


@pytest.mark.parametrize(("keeps_best", "look"), [(True, 0), (False, -1)])
def test_the_result_is_the_best_average_or_the_last(tmp_path: Path, keeps_best: bool, look: int):
    class Worse(Line):
        """Gets worse with every look."""

        seen: tuple[float, ...] = ()

        def held_out(self, model: nn.Module) -> dict[str, float]:
            self.seen = (*self.seen, model.state_dict()["bias"].item())
            return {"loss": float(len(self.seen))}

    task, plan = Worse(), replace(PLAN, check_s=0.1, keeps_best=keeps_best)
    assert learn(task, plan, tmp_path / "line.pt", silent_progress())
    assert len(task.seen) > 2
    assert task.model.bias.item() == task.seen[look]


def test_more_minutes_go_on_where_fewer_ended(tmp_path: Path):
    file = tmp_path / "line.pt"
    learn(Line(), PLAN, file, silent_progress())
    steps = load(file)["numbers"][0]
    learn(Line(), PLAN, file, silent_progress())
    assert load(file)["numbers"][0] == steps
    learn(Line(), replace(PLAN, minutes=0.02), file, silent_progress())
    assert load(file)["numbers"][0] > steps


def test_it_ends_when_what_was_held_out_gets_no_better_until_it_is_given_more(tmp_path: Path):
    plan = replace(PLAN, minutes=10, check_s=0.0, patience=3)
    for minutes, looks in ((10, 4), (10, 0), (20, 3)):
        task = Line(held_out=1.0)
        learn(task, replace(plan, minutes=minutes), tmp_path / "line.pt", silent_progress())
        assert task.looks == looks


def test_weights_that_had_learned_before_are_not_made_worse(tmp_path: Path):
    class Right(Line):
        """Knows better than what it learns from: 1 is the answer."""

        def held_out(self, model: nn.Module) -> dict[str, float]:
            return {"loss": (model(torch.ones(1)) - 1).square().item()}

    task = Right()
    nn.init.ones_(task.model.bias)
    assert learn(task, replace(PLAN, begun=True), tmp_path / "line.pt", silent_progress())
    assert len(task.drawn) > 0
    assert task.model.bias.item() == 1


def test_a_step_that_breaks_is_not_taken(tmp_path: Path):
    task = Line()
    loss = task.loss

    def broken(step: int) -> tuple[Tensor, dict[str, float]]:
        value, parts = loss(step)
        return (value * float("nan") if step == 1 else value), parts

    task.loss = broken
    learn(task, replace(PLAN, most_steps=4), tmp_path / "line.pt", silent_progress())
    assert bool(task.model.bias.isfinite().all())
    assert task.model.bias.item() > 0
