"""What is measured: a model of noise in one form of the step, and slots that speak."""

import math
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import torch
from pipecat_csm.engine.compiling import Compile, compiled_step, uncompile
from pipecat_csm.engine.runner import Made, Runner, SamplingOptions
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.native import accelerate
from pipecat_csm.model.native.library import kernels
from pipecat_csm.model.prompt import Prompt, audio_frames
from pipecat_csm.model.quantize import quantize

from scripts.csm_bench.settings import Settings
from scripts.csm_bench.shapes import Shape, random_model

# Of a text; what a reply has to read when its context is resident.
TEXT_ROWS = 20


@dataclass
class Subject:
    """The model, and the runner that most measurements share.

    Attributes:
        variant: The form of the step.
        deadline: On the monotonic clock; a long measurement ends before it.
        packing_s: How long it took to build the kernels and to pack the weights, if they are.
        warmed: Whether `runner` was warmed up: every bucket and span is there.
    """

    settings: Settings
    shape: Shape
    variant: str
    deadline: float = math.inf
    packing_s: float = field(default=0.0, init=False)
    warmed: bool = field(default=False, init=False)

    @cached_property
    def model(self) -> CSMModel:
        """Made when it is first asked for."""
        settings = self.settings
        model = random_model(self.shape.config, settings.device, getattr(torch, settings.dtype))
        began = time.perf_counter()
        if self.is_native and kernels() is None:
            raise RuntimeError("The kernels for CPUs cannot be built here; the log says why.")
        if settings.quantize:
            quantize(model, settings.quantize, native=self.is_native)
        elif self.is_native:
            accelerate(model)
        self.packing_s = time.perf_counter() - began
        return model

    @cached_property
    def runner(self) -> Runner:
        """A session's slot and a spare one, as somebody who serves one caller has them."""
        return self.new_runner(2)

    def new_runner(self, slots: int) -> Runner:
        """Another one of the same model, with a step of its own."""
        if self.is_native:
            return Runner(self.model, slots=slots)
        uncompile(self.model)
        step = compiled_step(self.model, cast(Compile, self.variant))
        return Runner(self.model, slots=slots, step=step)

    @property
    def is_native(self) -> bool:
        """Whether it is our own kernels that run, with the weights packed for them."""
        return self.variant == "native"

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def is_whole(self) -> bool:
        """Whether a compiler takes the whole step, anew for each bucket and span: minutes each."""
        return self.variant in ("cudagraphs", "max-autotune")


def noise_rows(runner: Runner, count: int) -> Prompt:
    """Frames of random codes, as a prompt."""
    config = runner.model.config
    codes = torch.randint(config.codec.codebook_size, (count, config.codebooks))
    return audio_frames(config, codes, closed=False)


def read(runner: Runner, slot: int, positions: int) -> None:
    """Has a slot read so many positions of noise."""
    for _ in runner.prefill(slot, noise_rows(runner, positions), 0):
        pass


def seat(runner: Runner, sessions: int, context: int, frames: int) -> None:
    """Has the first slots speak, each with so many positions resident, and no other slot.

    They are given as much as they will have after all frames, and set back: so what a graph or a
    compiler builds on the way can be built before (see `lap`).
    """
    silence(runner)
    end = min(context + frames, runner.positions - 1)
    read(runner, 0, end)
    for slot in range(sessions):
        if slot:
            runner.copy(0, slot, end)
        how = SamplingOptions(seed=slot)
        runner.begin(slot, noise_rows(runner, 1), how, segment=0, frames=runner.positions)
        runner.truncate(slot, context)


def lap(runner: Runner, sessions: int, context: int, frames: int) -> None:
    """Makes a step in every span that so many frames will cross, untimed; then sets back."""
    end = min(context + frames, runner.positions - 1)
    for position in [*range(context, end, 64), end - 1]:
        for slot in range(sessions):
            runner.truncate(slot, position)
        take(runner.step())
    for slot in range(sessions):
        runner.truncate(slot, context)


def silence(runner: Runner) -> None:
    """Stops every slot."""
    for slot in range(runner.slots):
        runner.pause(slot)


def take(made: Made) -> None:
    """Brings a step's frames to the host, as the engine does for its callers."""
    torch.stack((made.made, made.ended, made.running)).cpu()
    made.codes.cpu()
    made.audio.cpu()
