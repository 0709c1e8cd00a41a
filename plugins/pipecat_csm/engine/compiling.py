"""What a compiler can make of the step, from the whole frame as one graph to nothing at all."""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from pipecat_csm.engine.graphs import GraphedStep
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.state import StepState
from pipecat_csm.model.step import step

Compile = Literal["graph", "plain-graph", "layers", "cudagraphs", "max-autotune", "none"]
"""How the step is compiled.

- graph: CUDA only. Inductor builds the parts that repeat, and the whole frame is one CUDA graph.
- plain-graph: CUDA only. The same graph of torch's own kernels; it needs no compiler, and seconds.
- layers: inductor builds the parts that repeat; each is launched on its own.
- cudagraphs: CUDA only. `torch.compile` of the whole step with its backend of that name: one graph,
  of torch's own kernels.
- max-autotune: `torch.compile` of the whole step with inductor in that mode, which takes minutes
  for each bucket.
- none: nothing is compiled.
"""

Step = Callable[..., None]

_EVERYWHERE = ("layers", "max-autotune", "none")

# Kinds of shape that a part is built for: rows of a prompt or of a step, one slot or several,
# samplings. torch gives up at 8.
_VARIANTS = 64


def kinds(device: torch.device) -> tuple[Compile, ...]:
    """Those that a device can have."""
    if device.type == "cuda":
        return get_args(Compile)
    return tuple(kind for kind in get_args(Compile) if kind in _EVERYWHERE)


def compiled_step(model: CSMModel, kind: Compile) -> Step:
    """The step in a form of its own; what is compiled is built when it first runs.

    Args:
        model: Its parts are compiled in place; `uncompile` undoes that.
        kind: How.

    Returns:
        For `Runner(step=)`.

    Raises:
        ValueError: The device cannot have it.
    """
    device = model.audio_embeddings.weight.device
    if kind not in kinds(device):
        raise ValueError(f"{kind!r} is not for {device}; {', '.join(kinds(device))} are.")
    if kind == "none" or model.whole_frame is not None:  # which leaves a compiler nothing to do
        return step
    if kind == "plain-graph":
        return GraphedStep()
    _prepare_torch()
    if kind in ("graph", "layers"):
        _compile_parts(model, device)
        return GraphedStep() if kind == "graph" else step
    whole = partial(torch.compile, step, fullgraph=True, dynamic=False)
    compiled = whole(backend=kind) if kind == "cudagraphs" else whole(mode=kind)
    return _AtHome(compiled)


def uncompile(model: CSMModel) -> None:
    """Has the model's parts run as they are written."""
    if model.whole_frame is not None:
        return  # made of our own kernels, of which nothing was compiled
    for layer in model.backbone.layers:
        layer._compiled_call_impl = None
    for part, name in _parts(model, model.audio_embeddings.weight.device):
        part.__dict__.pop(name, None)


def trouble_with_compiler(device: torch.device) -> str | None:
    """Why inductor can build nothing for a device, in a few words; None if it can.

    It builds something small, which takes some seconds the first time on a machine.
    """
    _prepare_torch()
    try:
        probe = torch.compile(lambda x: (x * 2 + 1).sum(), dynamic=False)
        probe(torch.ones(16, device=device))
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0][:200]
    return None


def _compile_parts(model: CSMModel, device: torch.device) -> None:
    """Compiles what repeats: a layer of the backbone, a code of the depth decoder; and the codec.

    Each is built once for one slot and once for several, whatever their number.
    """
    # On CUDA a product of one row becomes a kernel of inductor's own, which reads weights faster.
    options: dict[str, Any] = {"coordinate_descent_tuning": device.type == "cuda"}
    build = partial(torch.compile, fullgraph=True, dynamic=True, options=options)
    for layer in model.backbone.layers:
        layer.compile(fullgraph=True, dynamic=True, options=options)
    for part, name in _parts(model, device):
        setattr(part, name, build(getattr(part, name)))


def _parts(model: CSMModel, device: torch.device) -> list[tuple[nn.Module, str]]:
    """What is compiled as a whole, and under which name it is called."""
    parts: list[tuple[nn.Module, str]] = [(model, "first_codes"), (model, "next_code")]
    if device.type == "cuda":  # on a CPU it takes a minute to build, and saves next to nothing
        parts.append((model.mimi, "decode_step"))
    return parts


def _prepare_torch() -> None:
    """Lets torch build as many variants as there are, and keep them for the next start."""
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _VARIANTS)
    # Set before inductor makes its first file; a user's own choice stands.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(_cache_folder()))


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "pipecat-csm" / "inductor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / "pipecat-csm-inductor"
    return folder


class _AtHome:
    """A compiled step that knows that a state's tensors never move, so that none is copied."""

    def __init__(self, compiled: Step) -> None:
        self._compiled = compiled
        self._known: set[int] = set()

    def __call__(self, model: CSMModel, state: StepState, **how: int) -> None:
        if id(state) not in self._known:
            for tensor in state.tensors():
                torch._dynamo.mark_static_address(tensor)
            self._known.add(id(state))
        self._compiled(model, state, **how)
