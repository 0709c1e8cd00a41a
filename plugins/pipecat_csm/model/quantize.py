"""Quantisation of the large matrices.

One caller's speech is bound by the bytes of the weights, most of them the depth decoder's, which
are read for every code. The embeddings, the norms and the codec stay as they are: they are read
once, or by row.

On a CPU, with kernels of our own (`native/`), the heads are quantised too, and what a matrix
multiplies is rounded to 8 bits. With torch's kernels, which serve where there is no compiler, only
the weights of the backbone and of the depth decoder are: purer, and several times slower.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from pipecat_csm.errors import CSMError
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.native import accelerate
from pipecat_csm.model.quantize_cuda import CUDAInt4Linear, CUDAInt8Linear
from pipecat_csm.model.rounding import GROUP, to_int4, to_int8

Quantization = Literal["int8", "int4"]

# torch's packed product wants so many rows at once.
_ROWS = 16


def quantize(model: CSMModel, kind: Quantization, *, native: bool = True) -> None:
    """Replaces the large matrices, one after the other, so that memory only shrinks.

    Args:
        model: Loaded and finished.
        kind: Of the numbers.
        native: On a CPU, with kernels of our own, if they can be built here. False takes torch's; a
            matrix whose shape these cannot take stays as it is, which happens only in toys.

    Raises:
        CSMError: The model is not in bfloat16, or on another kind of device.
    """
    weight = model.audio_embeddings.weight
    if weight.device.type not in ("cpu", "cuda") or weight.dtype != torch.bfloat16:
        raise CSMError(
            f"Quantising to {kind} needs a model in bfloat16 on a CPU or on CUDA, not one on "
            f"{weight.device} in {str(weight.dtype).removeprefix('torch.')}."
        )
    on_cpu = weight.device.type == "cpu"
    if on_cpu and native and accelerate(model, kind):
        return
    quantized = _on_cpu if on_cpu else _on_cuda
    for part in (model.backbone, model.depth):
        for module in list(part.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, quantized(child, kind))


def _on_cpu(linear: nn.Linear, kind: Quantization) -> nn.Module:
    if kind == "int8":
        return Int8Linear(linear.weight)
    if linear.in_features % GROUP or linear.out_features % _ROWS:
        return linear
    return Int4Linear(linear.weight)


def _on_cuda(linear: nn.Linear, kind: Quantization) -> nn.Module:
    if kind == "int8":
        return CUDAInt8Linear(linear.weight)
    return CUDAInt4Linear(linear.weight) if CUDAInt4Linear.fits(linear) else linear


class Int8Linear(nn.Module):
    """A matrix in whole numbers of 8 bits, with one scale per row."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor) -> None:
        """Rounds `weight` [out, in]."""
        super().__init__()
        numbers, scale = to_int8(weight)
        self.register_buffer("weight", numbers)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        rows = x.reshape(-1, x.shape[-1])
        return torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scale).view(
            *x.shape[:-1], -1
        )

    def dequantized(self) -> Tensor:
        """The matrix as it is meant, float32 [out, in]."""
        return self.weight.float() * self.scale.float()[:, None]


class Int4Linear(nn.Module):
    """A matrix in whole numbers of 4 bits, with a scale and an offset per 32 columns of a row."""

    packed: Tensor
    scale_and_zero: Tensor

    def __init__(self, weight: Tensor) -> None:
        """Rounds `weight` [out, in]; `in` divides by 32, `out` by 16."""
        super().__init__()
        self.shape = tuple(weight.shape)
        numbers, both = to_int4(weight)
        self.register_buffer(
            "packed", torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers, 1)
        )
        self.register_buffer("scale_and_zero", both.transpose(0, 1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        rows = x.reshape(-1, x.shape[-1])
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows, self.packed, GROUP, self.scale_and_zero
        )
        return product.view(*x.shape[:-1], -1)

    def dequantized(self) -> Tensor:
        """The matrix as it is meant, float32 [out, in]."""
        # Through the product itself, so that no second knowledge of the packing is needed.
        return self(torch.eye(self.shape[1], dtype=self.scale_and_zero.dtype)).float().T
