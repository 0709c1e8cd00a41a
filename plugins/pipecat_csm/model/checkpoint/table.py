"""Which tensor of a file goes where: a table, made of the config alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipecat_csm.model.config import TransformerConfig

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """Some rows of a tensor in a file, and the rows of the parameter that they become.

    Attributes:
        source: The tensor's name in the file.
        shape: The whole tensor's shape in the file.
        parameter: Our parameter's name.
        row: The first row of the parameter that is filled.
        source_row: The first row of the tensor that is taken.
        rows: How many are taken; all from `source_row` on if None.
        interleaved_heads: If not None, the rows belong to so many heads and pair the rotated
            dimensions as (0, 1), (2, 3), ...; ours pair each with the one half a head away.
    """

    source: str
    shape: Shape
    parameter: str
    row: int = 0
    source_row: int = 0
    rows: int | None = None
    interleaved_heads: int | None = None

    @property
    def row_count(self) -> int:
        """How many rows are taken."""
        return self.shape[0] - self.source_row if self.rows is None else self.rows


@dataclass(frozen=True)
class Naming:
    """What a format calls the parts of a transformer.

    Attributes:
        interleaved: Whether its rotary embedding turns neighbours, as torchtune's does.
    """

    q: str
    k: str
    v: str
    out: str
    gate: str
    up: str
    down: str
    attention_norm: str
    mlp_norm: str
    norm: str
    interleaved: bool


def transformer_pieces(
    config: TransformerConfig, naming: Naming, *, ours: str, theirs: str
) -> list[Piece]:
    """The pieces of a backbone or depth decoder.

    Args:
        ours: The prefix of our names, as "backbone.".
        theirs: The prefix of the file's names.
    """
    width, inner = config.hidden_size, config.intermediate_size
    q_rows, kv_rows = config.heads * config.head_dim, config.kv_heads * config.head_dim
    q_heads = config.heads if naming.interleaved else None
    k_heads = config.kv_heads if naming.interleaved else None
    pieces = [Piece(f"{theirs}{naming.norm}", (width,), f"{ours}norm.weight")]
    for layer in range(config.layers):
        file, own = f"{theirs}layers.{layer}.", f"{ours}layers.{layer}."
        qkv, gate_up = f"{own}attention.qkv.weight", f"{own}mlp.gate_up.weight"
        q_shape, kv_shape = (q_rows, width), (kv_rows, width)
        pieces += [
            Piece(file + naming.q, q_shape, qkv, interleaved_heads=q_heads),
            Piece(file + naming.k, kv_shape, qkv, row=q_rows, interleaved_heads=k_heads),
            Piece(file + naming.v, kv_shape, qkv, row=q_rows + kv_rows),
            Piece(file + naming.out, (width, q_rows), f"{own}attention.out.weight"),
            Piece(file + naming.gate, (inner, width), gate_up),
            Piece(file + naming.up, (inner, width), gate_up, row=inner),
            Piece(file + naming.down, (width, inner), f"{own}mlp.down.weight"),
            Piece(file + naming.attention_norm, (width,), f"{own}attention_norm.weight"),
            Piece(file + naming.mlp_norm, (width,), f"{own}mlp_norm.weight"),
        ]
    return pieces


def codec_shapes(parameters: Mapping[str, Shape]) -> dict[str, Shape]:
    """The codec's part of a model's parameters, under the codec's own names."""
    return {
        name.removeprefix("mimi."): shape
        for name, shape in parameters.items()
        if name.startswith("mimi.")
    }
