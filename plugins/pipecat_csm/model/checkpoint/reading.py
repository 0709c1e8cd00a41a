"""Safetensors files: their headers, whether these fit a table, and the tensors, block by block."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint.table import Piece, Shape

# How much of a tensor is in memory besides the weights: rows are read in blocks of this size.
_BLOCK_BYTES = 4 << 20
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_NAMED = 3


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, as the file's header tells it."""

    path: Path
    shape: Shape
    dtype: str


def read_headers(paths: Iterable[Path]) -> dict[str, Stored]:
    """What is in some files, without reading a weight.

    Raises:
        CheckpointError: A file is missing or damaged, or only half of it is there.
    """
    found: dict[str, Stored] = {}
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    part = file.get_slice(name)
                    found[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
        except FileNotFoundError:
            raise CheckpointError(
                f"The checkpoint lacks {path.name} in {path.parent}; its download is not complete, "
                "so run it again."
            ) from None
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path.name} in {path.parent} is damaged or only half there ({error}); "
                "download it again."
            ) from None
    return found


def check(
    pieces: Iterable[Piece],
    stored: Mapping[str, Stored],
    is_extra: Callable[[str], bool],
    where: Path,
) -> None:
    """Compares the names and shapes that a table wants with those that the files have.

    Args:
        is_extra: Whether a tensor may be there although the table has it not.
        where: The folder, for the sentence.

    Raises:
        CheckpointError: A tensor is missing, unknown, of another shape, or not of floats; the
            sentence names the first few of each kind and counts them.
    """
    wanted = {piece.source: piece.shape for piece in pieces}
    there = [name for name in wanted if name in stored]
    flaws = [
        _flaw("missing", [name for name in wanted if name not in stored]),
        _flaw(
            "misshapen",
            [
                f"{name}: {list(stored[name].shape)} instead of {list(wanted[name])}"
                for name in there
                if stored[name].shape != wanted[name]
            ],
        ),
        _flaw(
            "neither of 16, 32 nor 64-bit floats",
            [
                f"{name}: {stored[name].dtype}"
                for name in there
                if stored[name].dtype not in _ITEM_BYTES
            ],
        ),
        _flaw("unknown", [n for n in stored if n not in wanted and not is_extra(n)]),
    ]
    if any(flaws):
        raise CheckpointError(
            f"The weights in {where} are not those of a CSM of the shape that its config says: "
            f"{'; '.join(flaw for flaw in flaws if flaw)}."
        )


def _flaw(kind: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > _NAMED else ""
    tensors = "tensor is" if len(names) == 1 else "tensors are"
    return f"{len(names)} {tensors} {kind} ({', '.join(names[:_NAMED])}{more})"


def read(
    pieces: Iterable[Piece],
    stored: Mapping[str, Stored],
    shapes: Mapping[str, Shape],
    *,
    dtype_of: Callable[[str], torch.dtype],
    device: torch.device | str,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """Reads what `check` has found good.

    Beside the parameters themselves there is never more than a block of rows in memory; that is
    why tensors are not simply read whole: the text embeddings alone are a third of CSM-1B.

    Args:
        shapes: Of the parameters, by name.
        dtype_of: The type in which to keep a parameter.
        progress: Called with the bytes read and the bytes there are, in the files.

    Returns:
        The parameters by name, on the device.

    Raises:
        CheckpointError: A file cannot be read.
    """
    todo = sorted(pieces, key=lambda piece: str(stored[piece.source].path))
    total = sum(_bytes(piece, stored[piece.source]) for piece in todo)
    done = 0
    parameters: dict[str, Tensor] = {}
    for path, of_file in groupby(todo, key=lambda piece: stored[piece.source].path):
        try:
            with safe_open(path, framework="pt") as file:
                for piece in of_file:
                    name = piece.parameter
                    if name not in parameters:
                        parameters[name] = torch.empty(
                            shapes[name], dtype=dtype_of(name), device=device
                        )
                    _copy_rows(file.get_slice(piece.source), piece, parameters[name])
                    done += _bytes(piece, stored[piece.source])
                    if progress is not None:
                        progress(done, total)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path.name} in {path.parent} cannot be read ({error}); download it again."
            ) from None
    return parameters


def _bytes(piece: Piece, stored: Stored) -> int:
    rest = 1
    for size in piece.shape[1:]:
        rest *= size
    return piece.row_count * rest * _ITEM_BYTES[stored.dtype]


def _copy_rows(source: Any, piece: Piece, target: Tensor) -> None:
    count = piece.row_count
    unit = 1 if piece.interleaved_heads is None else count // piece.interleaved_heads
    row_bytes = 8  # at most, per number
    for size in piece.shape[1:]:
        row_bytes *= size
    step = max(1, _BLOCK_BYTES // (row_bytes * unit)) * unit
    for first in range(0, count, step):
        last = min(first + step, count)
        block = source[piece.source_row + first : piece.source_row + last]
        if piece.interleaved_heads is not None:
            block = _to_half_rotation(block, unit)
        target[piece.row + first : piece.row + last].copy_(block)


def _to_half_rotation(rows: Tensor, head_dim: int) -> Tensor:
    """Sorts each head's rows: first the even ones, then the odd ones.

    A rotary embedding that turns the pairs (0, 1), (2, 3), ... then does to them what ours does
    to the pairs (0, half), (1, half + 1), ...; attention scores stay the same.
    """
    heads = rows.shape[0] // head_dim
    pairs = rows.view(heads, head_dim // 2, 2, rows.shape[1])
    return pairs.transpose(1, 2).reshape(rows.shape)
