"""The one loop in which everything here is learned.

It works by the clock, since what there is of a small machine is time: the learning rate falls as
a cosine of the share of the minutes that is spent. Each minute all that is needed to go on is on
disk, so a run may be killed, and goes on with what is left of its minutes (or with more, if more
are given). What is judged and kept is an average of the weights over the last few hundred steps,
which is better than the weights themselves; the best of these averages, by the loss on what was
held out, is the result, and a run that has not got better for a while ends.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from scripts.mini_training.progress import Progress

_WARM_UP_SHARE = 0.02
_LAST_RATE_SHARE = 0.03
_MOST_GRADIENT = 1.0
_AVERAGE_DECAY = 0.998


class Companion(Protocol):
    """What learns beside a task's model, by itself."""

    def state(self) -> dict[str, Any]:
        """All that is needed to go on."""
        ...

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        ...


class Task(Protocol):
    """Something that is learned."""

    @property
    def model(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def companion(self) -> Companion | None:
        """What learns beside it and is of no more use then, such as an adversary."""
        ...

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, which the number of the step decides, and its parts."""
        ...

    def held_out(self, model: nn.Module) -> dict[str, float]:
        """How good a model is on what it does not learn from; "loss" decides."""
        ...


@dataclass(frozen=True)
class Plan:
    """How something is learned.

    Attributes:
        minutes: All the time it has, over all runs.
        rate: The highest learning rate; before a stage knows it, 0.
        seed: Of every draw.
        weight_decay: Of matrices; vectors have none.
        save_s: From one saving to the next.
        check_s: From one look at what was held out to the next.
        patience: It ends after so many looks without a better one, until it is given more minutes;
            None never.
        most_steps: It pauses after so many steps in this run; None never.
        keeps_best: The result is the best average by the loss on what was held out; otherwise it is
            the last one.
        slower: By the beginnings of parameters' names, what share of the rate they have.
        begun: It begins with weights that have learned before. They are looked at, too, outside the
            minutes: the result is never worse.
    """

    minutes: float
    rate: float
    seed: int = 0
    weight_decay: float = 0.01
    save_s: float = 60.0
    check_s: float = 180.0
    patience: int | None = None
    most_steps: int | None = None
    keeps_best: bool = True
    slower: Mapping[str, float] = field(default_factory=dict[str, float])
    begun: bool = False


def learn(
    task: Task,
    plan: Plan,
    file: Path,
    progress: Progress,
    listen: Callable[[nn.Module], dict[str, float]] | None = None,
) -> bool:
    """Learns until the time is over, and leaves the best weights in the task's model.

    Args:
        task: What is learned. If `file` exists, it goes on from there.
        plan: How.
        file: The state; the best weights lie beside it, as `<stem>.best.pt`.
        progress: Told of each look at what was held out.
        listen: Also called then, with the averaged model; its figures are reported.

    Returns:
        Whether it is over, and not only paused by `most_steps`.
    """
    run = _Run(task, plan, file)
    run.resume()
    if plan.begun and run.steps == 0:
        progress.report(minutes=0.0, step=0, **run.check(listen))
        run.spent_s = run.checked_s = 0.0
    steps = 0
    while not run.over:
        if plan.most_steps is not None and steps >= plan.most_steps:
            run.save()
            return False
        parts = run.step()
        steps += 1
        note = " ".join(f"{name} {value:.3f}" for name, value in parts.items())
        progress.at(run.spent_s / 60, note)
        if run.spent_s - run.checked_s >= plan.check_s or run.spent_s >= 60 * plan.minutes:
            figures = run.check(listen)
            progress.report(minutes=run.spent_s / 60, step=run.steps, **parts, **figures)
        if run.spent_s - run.saved_s >= plan.save_s:
            run.save()
    if run.is_no_better:
        progress.report(note=f"no better for {run.worse} looks; with more --minutes it goes on")
    if not run.best_file.exists():
        run.check(None)
    run.save()
    task.model.load_state_dict(load(run.best_file)["model"])
    return True


class _Run:
    """The state of a run, and its steps."""

    def __init__(self, task: Task, plan: Plan, file: Path) -> None:
        self.task, self.plan, self.file = task, plan, file
        self.best_file = file.with_name(f"{file.stem}.best.pt")
        self.parameters = [p for p in task.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            _groups(task.model, plan),
            lr=plan.rate,
            betas=(0.9, 0.98),
            weight_decay=plan.weight_decay,
            fused=True,
        )
        self.average = AveragedModel(task.model, avg_fn=_average, use_buffers=False)
        self.average.requires_grad_(False)
        self.steps, self.spent_s = 0, 0.0
        self.checked_s = self.saved_s = 0.0
        self.best, self.worse = math.inf, 0

    @property
    def is_no_better(self) -> bool:
        patience = self.plan.patience
        return patience is not None and self.worse >= patience

    @property
    def over(self) -> bool:
        return self.is_no_better or self.spent_s >= 60 * self.plan.minutes

    def step(self) -> dict[str, float]:
        began_s = time.monotonic()
        # By its number, so that a run that was interrupted draws as one that was not.
        torch.manual_seed(hash((self.plan.seed, self.steps)) % 2**63)
        rate = self.plan.rate * rate_share(self.spent_s / (60 * self.plan.minutes))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.task.model.train()
        loss, parts = self.task.loss(self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, _MOST_GRADIENT)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update_parameters(self.task.model)
        self.steps += 1
        self.spent_s += time.monotonic() - began_s
        return parts

    def check(self, listen: Callable[[nn.Module], dict[str, float]] | None) -> dict[str, float]:
        began_s = time.monotonic()
        model = self.average.module.eval()
        with torch.no_grad():
            found = self.task.held_out(model)
            if listen is not None:
                found = {**found, **listen(model)}
        if found["loss"] < self.best or not self.plan.keeps_best:
            self.best, self.worse = found["loss"], 0
            save({"model": model.state_dict()}, self.best_file)
        else:
            self.worse += 1
        self.spent_s += time.monotonic() - began_s
        self.checked_s = self.spent_s
        return {f"held-out {name}": value for name, value in found.items()}

    def save(self) -> None:
        state = {
            "model": self.task.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "numbers": [self.steps, self.spent_s, self.checked_s, self.best, self.worse],
            "minutes": self.plan.minutes,
        }
        if self.task.companion is not None:
            state["companion"] = self.task.companion.state()
        save(state, self.file)
        self.saved_s = self.spent_s

    def resume(self) -> None:
        if not self.file.exists():
            return
        state = load(self.file)
        self.task.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        shares = [group["share"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, share in zip(self.optimizer.param_groups, shares, strict=True):
            group["share"] = share  # the plan's, which may be another by now
        if self.task.companion is not None:
            self.task.companion.resume(state["companion"])
        self.steps, self.spent_s, self.checked_s, self.best, self.worse = state["numbers"]
        self.saved_s = self.spent_s
        if self.plan.minutes > state["minutes"]:
            self.worse = 0


def _groups(model: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """What learns, matrices and vectors apart, and each by how fast."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            shares = (share for prefix, share in plan.slower.items() if name.startswith(prefix))
            groups[parameter.ndim > 1, next(shares, 1.0)].append(parameter)
    return [
        {
            "params": parameters,
            "share": share,
            "weight_decay": plan.weight_decay if is_matrix else 0.0,
        }
        for (is_matrix, share), parameters in groups.items()
    ]


def products_in_bfloat16(device: torch.device, enabled: bool = True) -> torch.autocast:
    """A context in which matrices are multiplied in bfloat16, where the machine has it.

    On a CPU with AVX512-BF16 the codec's steps take half the time and the speech model's two
    thirds, with the same losses to the fourth digit.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 faster than in float32."""
    return device.type == "cuda" or (
        device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    )


def rate_share(share: float) -> float:
    """How much of the highest learning rate there is when a share of the time is spent."""
    if share < _WARM_UP_SHARE:
        return max(share, 1e-4) / _WARM_UP_SHARE
    fallen = min((share - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE), 1.0)
    return _LAST_RATE_SHARE + (1 - _LAST_RATE_SHARE) * (1 + math.cos(math.pi * fallen)) / 2


def spent_minutes(file: Path) -> float:
    """How many minutes the run has taken whose state is in a file; 0 if there is none."""
    return load(file)["numbers"][1] / 60 if file.exists() else 0.0


def save(state: Any, file: Path) -> None:
    """Writes a state, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(file)


def load(file: Path) -> Any:
    """Reads a state; it is tensors and numbers, and can run no code."""
    return torch.load(file, map_location="cpu", weights_only=True)


def _average(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
    # Short at first, or a short run would be judged by where it began.
    decay = min(_AVERAGE_DECAY, (1 + float(steps)) / (10 + float(steps)))
    return average.lerp(current, 1 - decay)
