"""Matrices in 8 and 4 bits for GPUs; see `quantize`."""

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import Tensor, nn

from pipecat_csm.model.rounding import GROUP, to_int4, to_int8

# How torch's kernel tiles the columns, 16 at a time; it wants whole tiles, and rows by the 8.
_INNER_TILES = 8


class CUDAInt8Linear(nn.Module):
    """A matrix in whole numbers of 8 bits, with one scale per row.

    It is written for inductor, which makes one kernel of the conversion and the product of a single
    row, so that only 8 bits are read. For several rows the matrix is converted first, each time:
    it serves one session at once.
    """

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
        return F.linear(x, self.weight.to(x.dtype)) * self.scale


class CUDAInt4Linear(nn.Module):
    """A matrix in whole numbers of 4 bits, with a scale and an offset per 32 columns of a row.

    The product is torch's own (`aten::_weight_int4pack_mm`), which wants bfloat16.
    """

    packed: Tensor
    scale_and_zero: Tensor

    def __init__(self, weight: Tensor) -> None:
        """Rounds `weight` [out, in], for which `fits` holds."""
        super().__init__()
        numbers, both = to_int4(weight)
        pairs = (numbers[:, ::2] << 4 | numbers[:, 1::2]).to(torch.uint8)
        packed = torch.ops.aten._convert_weight_to_int4pack(pairs, _INNER_TILES)
        self.register_buffer("packed", packed)
        self.register_buffer("scale_and_zero", both.transpose(0, 1).contiguous())

    @staticmethod
    def fits(linear: nn.Linear) -> bool:
        """Whether torch's kernel can take a matrix of this shape."""
        return linear.in_features % (16 * _INNER_TILES) == 0 and linear.out_features % 8 == 0

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        product = torch.ops.aten._weight_int4pack_mm(
            x.flatten(0, -2), self.packed, GROUP, self.scale_and_zero
        )
        return product.unflatten(0, x.shape[:-1])
