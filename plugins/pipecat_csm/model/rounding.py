"""Matrices in whole numbers of 8 and 4 bits, as torch's kernels take them."""

import torch
from torch import Tensor

# Columns that share a scale, in int4: fewer cost bytes, more cost quality.
GROUP = 32


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix [out, in] in numbers of 8 bits.

    Returns:
        int8 [out, in], and [out], the scale of each row.
    """
    scale = weight.float().abs().amax(dim=1).clamp(min=1e-8) / 127
    return (weight.float() / scale[:, None]).round().to(torch.int8), scale.to(weight.dtype)


def to_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix [out, in] in numbers of 4 bits; `in` divides by 32.

    Returns:
        int32 [out, in] from 0 to 15; and [out, in / 32, 2], the scale and the zero of each group: a
        weight is (number - 8) * scale + zero.
    """
    rows, columns = weight.shape
    groups = weight.float().view(rows, columns // GROUP, GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    # What is stored is rounded, so the numbers are chosen for the rounded scale and zero.
    scale = ((high - low).clamp(min=1e-8) / 15).to(weight.dtype)
    zero = (low + 8 * scale.float()).to(weight.dtype)
    lowest = zero.float() - 8 * scale.float()
    numbers = ((groups - lowest[..., None]) / scale.float()[..., None]).round().clamp(0, 15)
    return numbers.view(rows, columns).int(), torch.stack((scale, zero), dim=-1)
