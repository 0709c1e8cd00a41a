"""A frame of one session, and the floor: what must be read from memory to make it."""

from collections.abc import Iterator

import torch
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.mimi import Mimi

from scripts.csm_bench.bandwidth import bandwidth
from scripts.csm_bench.report import FLOOR, Row
from scripts.csm_bench.subject import Subject, lap, seat, silence, take
from scripts.csm_bench.timing import timed, typical


def measure_floor(subject: Subject) -> Iterator[Row]:
    """The time that reading alone takes, of a session with nothing resident."""
    speed = bandwidth(subject.settings)
    size = bytes_per_frame(subject.model, 0)
    figures = {"ms": size / speed * 1e3, "bytes": size, "bytes_per_s": speed}
    yield Row("frame", FLOOR, figures, f"it reads {speed / 1e9:,.0f} GB/s")


def measure(subject: Subject) -> Iterator[Row]:
    """The time of a step, its codes and its sound brought to the host."""
    contexts, note = subject.settings.contexts, ""
    if subject.is_whole:
        contexts, note = contexts[:1], "others are compiled anew, which takes minutes each"
    for context in contexts:
        times = step_times(subject, context)
        figures = {
            "positions": context,
            **typical(times),
            "bytes": bytes_per_frame(subject.model, context),
        }
        yield Row("frame", subject.variant, figures, note)


def step_times(subject: Subject, context: int) -> list[float]:
    """Milliseconds of each step of one session."""
    runner, frames = subject.runner, subject.settings.frames
    seat(runner, 1, context, frames)
    if not subject.warmed:
        lap(runner, 1, context, frames)
    for _ in range(2):
        take(runner.step())
    runner.truncate(0, context)
    times = list(timed(lambda: take(runner.step()), frames, subject.settings.device))
    silence(runner)
    return times


def bytes_per_frame(model: CSMModel, positions: int, *, codec: bool = True) -> int:
    """What one frame must read at least: each weight as often as it is used, and the context."""

    def size(*modules: torch.nn.Module) -> int:
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        return sum(t.numel() * t.element_size() for t in tensors)

    config = model.config
    once = size(model.backbone, model.codebook0_head, model.projection, model.depth_heads)
    return (
        once
        + (config.codebooks - 1) * size(model.depth)
        + (_codec_bytes(config) if codec else 0)
        + positions * bytes_per_position(model)
    )


def _codec_bytes(config: CSMConfig) -> int:
    """The codec's decoder, which is in float32 whatever the rest is; of its codebooks only rows."""
    with torch.device("meta"):
        mimi = Mimi(config.codec)
    parts = (mimi.decoder, mimi.decoder_transformer, mimi.upsample)
    return sum(t.numel() for part in parts for t in part.parameters()) * torch.float32.itemsize


def bytes_per_position(model: CSMModel) -> int:
    """Keys and values of one position in every layer."""
    backbone = model.config.backbone
    numbers = 2 * backbone.layers * backbone.kv_heads * backbone.head_dim
    return numbers * model.audio_embeddings.weight.element_size()
