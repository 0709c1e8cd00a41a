"""Quantisation of the large matrices, for CPUs.

One caller's speech is bound by the bytes of the weights, most of them the depth decoder's, which
are read for every code. The embeddings, the norms and the codec stay as they are: they are read
once, or by row.

With kernels of our own (`native/`) the heads are quantised too, and what a matrix multiplies is
rounded to 8 bits. With torch's kernels, which serve where there is no compiler, only the weights of
the backbone and of the depth decoder are: purer, and several times slower.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from pipecat_csm.errors import CSMError
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.native import accelerate

Quantization = Literal["int8", "int4"]

# Columns that share a scale, in int4: fewer cost bytes, more cost quality.
_GROUP = 32
# torch's packed product wants so many rows at once.
_ROWS = 16


def quantize(model: CSMModel, kind: Quantization, *, native: bool = True) -> None:
    """Replaces the large matrices, one after the other, so that memory only shrinks.

    Args:
        model: Loaded and finished.
        kind: Of the numbers.
        native: With kernels of our own, if they can be built here. False takes torch's; a matrix
            whose shape these cannot take stays as it is, which happens only in toys.

    Raises:
        CSMError: The model is not on a CPU, or not in bfloat16.
    """
    weight = model.audio_embeddings.weight
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
        raise CSMError(
            f"Quantising to {kind} needs a model on the CPU in bfloat16, not one on "
            f"{weight.device} in {str(weight.dtype).removeprefix('torch.')}."
        )
    if native and accelerate(model, kind):
        return
    for part in (model.backbone, model.depth):
        for module in list(part.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, _quantized(child, kind))


def _quantized(linear: nn.Linear, kind: Quantization) -> nn.Module:
    if kind == "int8":
        return Int8Linear(linear.weight)
    if linear.in_features % _GROUP or linear.out_features % _ROWS:
        return linear
    return Int4Linear(linear.weight)


class Int8Linear(nn.Module):
    """A matrix in whole numbers of 8 bits, with one scale per row."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor) -> None:
        """Rounds `weight` [out, in]."""
        super().__init__()
        scale = weight.float().abs().amax(dim=1).clamp(min=1e-8) / 127
        rounded = (weight.float() / scale[:, None]).round().to(torch.int8)
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale.to(weight.dtype))

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
        rows, columns = weight.shape
        self.shape = (rows, columns)
        groups = weight.float().view(rows, columns // _GROUP, _GROUP)
        low, high = groups.amin(-1), groups.amax(-1)
        # What is stored is rounded, so the numbers are chosen for the rounded scale.
        scale = ((high - low).clamp(min=1e-8) / 15).to(weight.dtype)
        # torch's kernel takes (number - 8) * scale + zero.
        zero = (low + 8 * scale.float()).to(weight.dtype)
        offset = zero.float() - 8 * scale.float()
        numbers = ((groups - offset[..., None]) / scale.float()[..., None]).round().clamp(0, 15)
        numbers = numbers.view(rows, columns).int()
        self.register_buffer(
            "packed", torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers, 1)
        )
        both = torch.stack((scale, zero), dim=-1)
        self.register_buffer("scale_and_zero", both.transpose(0, 1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        rows = x.reshape(-1, x.shape[-1])
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows, self.packed, _GROUP, self.scale_and_zero
        )
        return product.view(*x.shape[:-1], -1)

    def dequantized(self) -> Tensor:
        """The matrix as it is meant, float32 [out, in]."""
        # Through the product itself, so that no second knowledge of the packing is needed.
        return self(torch.eye(self.shape[1], dtype=self.scale_and_zero.dtype)).float().T
