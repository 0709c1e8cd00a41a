"""transformers' own `generate`, with the same sampling on the same shape, without its codec.

Its codec decodes whole clips after the last frame, so that its first codes are not yet sound.
"""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import CompileConfig, CsmForConditionalGeneration
from transformers.generation.streamers import BaseStreamer

from scripts.csm_bench.frame import bytes_per_frame
from scripts.csm_bench.machine import peak_bytes
from scripts.csm_bench.report import Row
from scripts.csm_bench.settings import Settings
from scripts.csm_bench.shapes import Shape, empty_model
from scripts.csm_bench.subject import TEXT_ROWS
from scripts.csm_bench.timing import typical

_SAMPLING = {"do_sample": True, "temperature": 0.9, "top_k": 50}
_CONTEXTS = (500, 0)
_NOTE = "codes alone, without its codec"


class FrameClock(BaseStreamer):
    """Notes when each frame's codes reach the host."""

    def __init__(self) -> None:
        """None has come."""
        self.times_s: list[float] = []

    def put(self, value: Tensor) -> None:
        """Called with the prompt, then with each frame."""
        self.times_s.append(time.perf_counter())

    def end(self) -> None:
        """Called after the last."""


def measure(settings: Settings, shape: Shape, variant: str) -> Iterator[Row]:
    """The time per frame, and to the first codes, which need the whole prompt read.

    Args:
        settings: Of the run.
        shape: Of the model.
        variant: "eager", or "static": with static caches for the backbone and the depth decoder,
            where `generate` compiles both with inductor, and with CUDA graphs on a GPU.
    """
    generate = _generate(settings, shape, variant)
    ours = empty_model(shape.config, getattr(torch, settings.dtype))
    what = f"transformers, {variant}"
    rows = []
    with torch.inference_mode():
        # The longest first: the shorter one then fits into what was compiled for it.
        for context in _CONTEXTS:
            cold, warm = generate(context), generate(context)
            if not rows and variant == "static":
                start = {"cold_s": cold[-1] - cold[0] - (warm[-1] - warm[0])}
                yield Row("start", what, start, "what its first reply takes above a later one")
            frame = {
                "positions": context,
                **typical(1e3 * (b - a) for a, b in pairwise(warm[1:])),
                "bytes": bytes_per_frame(ours, context, codec=False),
            }
            rows.append(Row("frame", what, frame, _NOTE))
            audio = {"positions": context, "anew_ms": (warm[1] - warm[0]) * 1e3}
            rows.append(Row("first audio", what, audio, _NOTE))
    yield from sorted(rows, key=lambda row: (row.section, row.figures["positions"]))
    yield Row("memory", what, {"peak_bytes": peak_bytes(settings)})


def _generate(settings: Settings, shape: Shape, variant: str) -> Callable[[int], list[float]]:
    """What makes a reply after so many positions; it returns when it began, and each frame came."""
    model: Any = _model(settings, shape)
    options: dict[str, Any] = {}
    if variant == "static":
        options["cache_implementation"] = "static"
        if not settings.cuda:
            # By itself it compiles on a GPU alone.
            options["compile_config"] = CompileConfig()
            options["compile_config"]._compile_all_devices = True  # type: ignore
    both = {**_SAMPLING, **options}

    def generate(context: int) -> list[float]:
        clock, began = FrameClock(), time.perf_counter()
        ids = torch.randint(0, 100, (1, context + TEXT_ROWS), device=settings.device)
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=settings.reference_frames,
            min_new_tokens=settings.reference_frames,
            streamer=clock,
            **both,
            **{f"depth_decoder_{name}": value for name, value in both.items()},
        )
        return [began, *clock.times_s[1:]]

    return generate


def _model(settings: Settings, shape: Shape) -> CsmForConditionalGeneration:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, settings.dtype))
    try:
        with torch.device(settings.device):
            return CsmForConditionalGeneration(shape.reference).eval()
    finally:
        torch.set_default_dtype(usual)
