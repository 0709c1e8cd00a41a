"""Matrices in the order of bytes in which the kernels stream them.

`kernels/matrix.h` has the layout, `kernels/pack.h` the rounding.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from pipecat_csm.model.native import operators

Format = Literal["bfloat16", "int8", "int4"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""In the order of their numbers in the kernels."""

GROUP = 32
"""Columns of a row that share a scale in 4 bits."""

PADDED = 2 * GROUP
"""Columns are padded to a multiple of it."""

_LANES = 16  # rows of a block


def pack(weight: Tensor, form: Format, to: Tensor, order: Tensor | None = None) -> None:
    """Packs a matrix [rows, columns] of any shape, in bfloat16.

    Args:
        weight: The matrix.
        form: Of its numbers.
        to: uint8 [packed_bytes(...)].
        order: int64, for each packed row which of the matrix's it is; -1 is a row of zeros. By
            default they stay in order.
    """
    order = torch.arange(len(weight)) if order is None else order
    missing = up_to(len(order), _LANES) - len(order)
    order = torch.nn.functional.pad(order, (0, missing), value=-1)
    operators.pack(weight.detach(), FORMATS.index(form), order, to)


def packed_bytes(rows: int, columns: int, form: Format) -> int:
    """How many bytes a packed matrix takes."""
    return up_to(rows, _LANES) // _LANES * _block_bytes(up_to(columns, PADDED), form)


def unpack(packed: Tensor, form: Format, rows: int, columns: int) -> Tensor:
    """The matrix as it is meant, float32 [rows, columns]."""
    wide, blocks = up_to(columns, PADDED), up_to(rows, _LANES) // _LANES
    packed = packed[: packed_bytes(rows, columns, form)]
    if form == "bfloat16":
        pairs = packed.view(torch.bfloat16).view(blocks, -1, _LANES, 2)
        weight = pairs.transpose(1, 2).float()
    elif form == "int8":
        scales, numbers = packed.view(blocks, -1).split((64, _LANES * wide), dim=1)
        fours = numbers.reshape(blocks, -1, _LANES, 4).transpose(1, 2).float() - 128
        weight = fours * scales.contiguous().view(torch.float32).view(blocks, _LANES, 1, 1)
    else:
        pairs = packed.view(blocks, wide // PADDED, -1)
        scales, numbers = pairs.split((64, 8 * PADDED), dim=2)
        halves = numbers.reshape(blocks, -1, _LANES, 4)
        halves = torch.stack((halves & 15, halves >> 4), dim=-2).transpose(1, 2).float() - 8
        groups = halves.reshape(blocks, _LANES, -1, GROUP)
        stored = scales.contiguous().view(torch.bfloat16).view(blocks, -1, _LANES)
        weight = groups * stored.transpose(1, 2).float()[..., None]
    return weight.reshape(-1, wide)[:rows, :columns]


def up_to(count: int, multiple: int) -> int:
    """The next multiple that is not below a count."""
    return -(-count // multiple) * multiple


def _block_bytes(columns: int, form: Format) -> int:
    if form == "bfloat16":
        return columns * _LANES * 2
    return 64 + columns * _LANES if form == "int8" else columns // PADDED * (64 + 8 * PADDED)
