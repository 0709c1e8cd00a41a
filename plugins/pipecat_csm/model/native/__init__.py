"""Kernels of our own for CPUs, built once on the machine that they run on.

One caller's speech is bound by the bytes of the weights. torch's kernels for one row read them at a
fraction of what the memory gives, and launch thousands of small operations a frame. Here a stack of
layers is one call, and so is the whole of a frame's codes; the weights stream in bfloat16, int8 or
int4, in the order in which they are read.
"""

import logging

import torch

from pipecat_csm.errors import CSMError
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.native.codec import NativeDecoder
from pipecat_csm.model.native.library import kernels
from pipecat_csm.model.native.modules import (
    NativeFrame,
    NativeHeads,
    NativeLinear,
    NativeTransformer,
)
from pipecat_csm.model.native.packing import Format

__all__ = [
    "Format",
    "NativeDecoder",
    "NativeFrame",
    "NativeHeads",
    "NativeLinear",
    "NativeTransformer",
]
__all__ += ["accelerate"]

logger = logging.getLogger(__name__)


def accelerate(model: CSMModel, form: Format = "bfloat16") -> bool:
    """Replaces the transformers, the heads and the codec's decoder by packed ones, part by part.

    In int8 and int4 what a matrix multiplies is rounded too: to 8 bits, with a scale for 32
    columns, as llama.cpp does.

    Args:
        model: Loaded and finished, on a CPU and in bfloat16. The embeddings and the norms stay as
            they are, and the codec is in float32 whatever the form is.
        form: Of the matrices; in "int4" the heads have 8 bits.

    Returns:
        Whether the kernels are there; if not, the model is as it was, and the log says why.

    Raises:
        CSMError: The model is not on a CPU, or not in bfloat16.
    """
    weight = model.audio_embeddings.weight
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
        raise CSMError(
            "The kernels for CPUs need a model on the CPU in bfloat16, not one on "
            f"{weight.device} in {str(weight.dtype).removeprefix('torch.')}."
        )
    if kernels() is None:
        return False
    config = model.config
    with torch.no_grad():
        model.backbone = NativeTransformer(model.backbone, form)  # type: ignore[assignment]
        model.depth = NativeTransformer(model.depth, form)  # type: ignore[assignment]
        # What is closest to the choice of a code is not worth the last half of a millisecond.
        form = "int8" if form == "int4" else form
        model.depth_heads = NativeHeads(model.depth_heads, form)  # type: ignore[assignment]
        model.codebook0_head = NativeLinear(model.codebook0_head.weight, form)  # type: ignore
        projection = NativeLinear(model.projection.weight, form, torch.bfloat16)
        model.projection = projection  # type: ignore[assignment]
    model.whole_frame = NativeFrame(
        model.depth,  # type: ignore[arg-type]
        model.codebook0_head,  # type: ignore[arg-type]
        projection,
        model.depth_heads,  # type: ignore[arg-type]
        model.depth_inputs.view(config.codebooks - 1, config.audio_vocab_size, -1),
        config.codec.codebook_size,
    )
    if NativeDecoder.fits(model.mimi):
        model.mimi.whole_decoder = NativeDecoder(model.mimi)
    return True
