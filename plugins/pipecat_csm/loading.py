"""From a checkpoint to a generator that is ready to speak."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from pipecat_csm.engine.compiling import (
    Compile,
    Step,
    compiled_step,
    kinds,
    trouble_with_compiler,
    uncompile,
)
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner
from pipecat_csm.errors import DeviceError
from pipecat_csm.generator import Generator
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.native import accelerate
from pipecat_csm.model.quantize import Quantization
from pipecat_csm.model.quantize import quantize as quantize_model

logger = logging.getLogger(__name__)

DEFAULT_CHECKPOINT = "sesame/csm-1b"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, "loading" (in bytes) or "compiling" (in steps), how much of it is
done, and how much there is."""


def load_csm_1b(
    device: str | torch.device | None = None,
    *,
    checkpoint: str | Path = DEFAULT_CHECKPOINT,
    revision: str | None = None,
    dtype: torch.dtype | None = None,
    quantize: Quantization | None = None,
    compile: bool | Compile | None = None,
    max_sessions: int = 2,
    progress: Progress | None = None,
) -> Generator:
    """Loads CSM-1B, or any checkpoint of its kind.

    Args:
        device: "cuda", "cpu", ...; the GPU where there is one by default.
        checkpoint: A folder, a hub id, or "csm-mini", the small one that comes with this package.
        revision: Of a hub id.
        dtype: Of the weights; by default bfloat16 on CUDA and where they are quantised, and
            float32 elsewhere.
        quantize: "int8" or "int4": the large matrices in fewer bytes.
        compile: By default, on CUDA, a whole frame is one graph over what inductor has built, which
            takes a minute or more the first time on a machine, and less from then on; on a CPU, in
            bfloat16 or quantised, kernels of our own are built, which takes seconds. False builds
            nothing; True has inductor also build what runs in float32 on a CPU; or the name of a
            way to compile, see `Compile`. Where no compiler works it is done without one, and said
            in the log.
        max_sessions: Conversations at once; each holds its context on the device. For every
            eight there is a spare place more, where long ones are shortened while they go on.
        progress: Called now and then.

    Raises:
        CheckpointError: It cannot be had or used; the sentence says what to do.
        DeviceError: This machine has no such device, or one without the memory.
    """
    device = _device(device)
    kind = _kind(compile, device)
    if dtype is None:
        wants_16_bits = device.type == "cuda" or quantize is not None
        dtype = torch.bfloat16 if wants_16_bits else torch.float32
    spares = 1 + max_sessions // 8
    try:
        loaded = load_checkpoint(
            checkpoint,
            device=device,
            dtype=dtype,
            revision=revision,
            progress=progress and partial(progress, "loading"),
        )
        _prepare(loaded.model, quantize, native=compile in (None, True))
        if loaded.model.whole_frame is not None:
            kind = "none"  # our own kernels leave a compiler nothing to do
        runner = ready_runner(
            loaded.model, kind, sessions=max_sessions, spares=spares, progress=progress
        )
    except torch.OutOfMemoryError:
        raise DeviceError(
            f"{device} has not enough memory for this checkpoint and {max_sessions} sessions; "
            "take fewer sessions (max_sessions=), quantize= it, or use another device."
        ) from None
    return Generator(loaded, Engine(runner, loaded.tokenizer, spares=spares))


def _prepare(model: CSMModel, quantization: Quantization | None, *, native: bool) -> None:
    """Puts the weights into the form that they are read in."""
    weight = model.audio_embeddings.weight
    if quantization is not None:
        quantize_model(model, quantization, native=native)
    elif native and weight.device.type == "cpu" and weight.dtype == torch.bfloat16:
        accelerate(model)


def ready_runner(
    model: CSMModel,
    kind: Compile,
    *,
    sessions: int,
    spares: int = 0,
    progress: Progress | None = None,
) -> Runner:
    """The slots of a model, with all that can be compiled beforehand built.

    What cannot be built on this machine is done without, and said in the log.
    """
    slots = sessions + spares
    compiled = None if kind == "none" else _compiled(model, kind)
    if compiled is None:
        return Runner(model, slots=slots)
    runner = Runner(model, slots=slots, step=compiled)
    try:
        runner.warm_up(sessions, progress and partial(progress, "compiling"))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        uncompile(model)
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        logger.warning("CSM goes on without being compiled, and slower: %s", line[:200])
        return Runner(model, slots=slots)
    return runner


def _compiled(model: CSMModel, kind: Compile) -> Step | None:
    """The step, compiled; without inductor, or not at all, where no compiler works."""
    device = model.audio_embeddings.weight.device
    needs_one = kind not in ("plain-graph", "cudagraphs")
    trouble = trouble_with_compiler(device) if needs_one else None
    if trouble is None:
        return compiled_step(model, kind)
    logger.warning(
        "CSM goes on without inductor, and slower: no compiler works here (%s). On Debian or "
        "Ubuntu `apt install g++` brings one.",
        trouble,
    )
    return compiled_step(model, "plain-graph") if kind == "graph" else None


def _kind(wanted: bool | Compile | None, device: torch.device) -> Compile:
    if wanted is None:
        wanted = device.type == "cuda"
    if isinstance(wanted, bool):
        best: Compile = "graph" if device.type == "cuda" else "layers"
        return best if wanted else "none"
    if wanted not in kinds(device):
        raise DeviceError(
            f"compile={wanted!r} is not for {device}; {', '.join(kinds(device))} are."
        )
    return wanted


def _device(wanted: str | torch.device | None) -> torch.device:
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DeviceError(f"The device {str(wanted)!r} cannot be used here: {line}.") from None
    return device
