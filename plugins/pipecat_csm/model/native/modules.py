"""Parts of the model with matrices packed for the kernels, and the interfaces of the originals."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipecat_csm.model.csm import DepthHeads
from pipecat_csm.model.native import operators
from pipecat_csm.model.native.packing import (
    FORMATS,
    GROUP,
    PADDED,
    Format,
    pack,
    packed_bytes,
    unpack,
    up_to,
)
from pipecat_csm.model.sampling import Draw
from pipecat_csm.model.transformer import KVCache, Layer, Transformer


class NativeLinear(nn.Module):
    """A matrix without bias."""

    packed: Tensor

    def __init__(self, weight: Tensor, form: Format, dtype: torch.dtype = torch.float32) -> None:
        """Packs `weight` [rows, columns]; products are of `dtype`."""
        super().__init__()
        self.rows, self.columns = weight.shape
        self.dtype = dtype
        self.form: Format = form
        packed = operators.room(packed_bytes(self.rows, self.columns, form))
        pack(weight, form, packed)
        self.register_buffer("packed", packed)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., columns] bfloat16 to [..., rows]."""
        flat = x.reshape(-1, self.columns)
        product = operators.linear(flat, self.packed, FORMATS.index(self.form), self.rows)
        return product.view(*x.shape[:-1], self.rows).to(self.dtype)

    def dequantized(self) -> Tensor:
        """The matrix as it is meant, float32 [rows, columns]."""
        return unpack(self.packed, self.form, self.rows, self.columns)


class NativeHeads(nn.Module):
    """`DepthHeads`: one output matrix for each codebook but the first."""

    packed: Tensor

    def __init__(self, original: DepthHeads, form: Format) -> None:
        """Packs the original's matrices."""
        super().__init__()
        self.columns, self.rows = original.weight.shape[1:]
        self.form: Format = form
        size = packed_bytes(self.rows, self.columns, form)
        packed = operators.room(len(original.weight), size)
        for weight, place in zip(original.weight, packed, strict=True):
            pack(weight.T, form, place)
        self.register_buffer("packed", packed)

    def forward(self, state: Tensor, codebook: int) -> Tensor:
        """Logits float32 [batch, audio_vocab] of a codebook, from state [batch, hidden]."""
        packed = self.packed[codebook - 1]
        return operators.linear(state, packed, FORMATS.index(self.form), self.rows)

    def dequantized(self) -> Tensor:
        """The matrices as they are meant, float32 [codebooks - 1, hidden, audio_vocab]."""
        heads = [unpack(head, self.form, self.rows, self.columns).T for head in self.packed]
        return torch.stack(heads)


class NativeFrame(nn.Module):
    """`CSMModel.codes_of_frame` in one call; the parts are the model's own."""

    inputs: Tensor

    def __init__(
        self,
        depth: "NativeTransformer",
        first_head: NativeLinear,
        projection: NativeLinear,
        heads: NativeHeads,
        inputs: Tensor,
        legal: int,
    ) -> None:
        """`inputs` [codebooks - 1, audio_vocab, hidden]; codes from `legal` on are not drawn."""
        super().__init__()
        self.depth, self.heads = depth, heads
        self.first_head, self.projection = first_head, projection
        self.register_buffer("inputs", inputs, persistent=False)
        self.legal = legal

    def forward(self, hidden: Tensor, cache: KVCache, draw: Draw) -> Tensor:
        """hidden [batch, backbone_hidden] to codes [batch, codebooks]."""
        depth, how = self.depth, draw.how
        return operators.frame(
            hidden,
            cache.keys,
            cache.values,
            depth.weights,
            depth.cos,
            depth.sin,
            depth.shape,
            depth.config.norm_eps,
            self.first_head.packed,
            self.projection.packed,
            self.heads.packed,
            FORMATS.index(self.heads.form),
            self.inputs,
            self.legal,
            how.temperature,
            how.top_k,
            how.min_p,
            how.key,
            draw.frame,
            draw.running,
            draw.most,
        )


class NativeTransformer(nn.Module):
    """`Transformer`, all of whose layers run in one call.

    The residual is kept in float32; what a matrix takes is rounded, to bfloat16 or, where the
    weights are int8 or int4, to 8 bits with a scale for 32 columns. Rows that go into the bin are
    left out.
    """

    weights: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, original: Transformer, form: Format) -> None:
        """Takes the original's weights from it, layer by layer, so that memory only shrinks."""
        super().__init__()
        config = self.config = original.config
        self.form: Format = form
        sizes = [size for _ in range(config.layers) for size in self._sizes()]
        sizes.append(_floats(config.hidden_size))
        self.register_buffer("weights", operators.room(sum(sizes)))
        self.register_buffer("cos", original.cos, persistent=False)
        self.register_buffer("sin", original.sin, persistent=False)
        places = iter(self.weights.split(sizes))
        while len(original.layers):
            self._take(original.layers[0], places)  # type: ignore[arg-type]
            del original.layers[0]
        _copy_norm(original.norm, next(places))

    @property
    def shape(self) -> tuple[int, ...]:
        """What the kernels must know, in the order of their `Stack`."""
        config = self.config
        return (
            FORMATS.index(self.form),
            config.layers,
            config.hidden_size,
            config.intermediate_size,
            config.heads,
            config.kv_heads,
            config.head_dim,
        )

    def over_slots(
        self, x: Tensor, cache: KVCache, positions: Tensor, keep: Tensor, span: int
    ) -> Tensor:
        """See `Transformer.over_slots`."""
        written = torch.where(keep, positions, cache.bin)
        return self._run(x, cache, positions, written, span)

    def in_step(self, x: Tensor, cache: KVCache, position: int) -> Tensor:
        """See `Transformer.in_step`."""
        positions = torch.arange(position, position + x.shape[1], device=x.device)
        positions = positions.expand(len(x), -1)
        return self._run(x, cache, positions, positions, cache.bin)[:, -1]

    def dequantized(self) -> list[dict[str, Tensor]]:
        """Of each layer the matrices as they are meant, float32: qkv, out, gate_up and down."""
        sizes = self._sizes() * self.config.layers
        places = iter(self.weights[: sum(sizes)].split(sizes))
        layers = []
        for _ in range(self.config.layers):
            layer = {}
            for name, (rows, columns) in self._matrices().items():
                place = next(places)
                if rows:
                    layer[name] = unpack(place, self.form, rows, columns)
            size = self.config.intermediate_size
            gate_up = layer["gate_up"].unflatten(0, (-1, 2, GROUP)).transpose(0, 1).flatten(1, 2)
            layer["gate_up"] = gate_up[:, :size].flatten(0, 1)
            layers.append(layer)
        return layers

    def _run(
        self, x: Tensor, cache: KVCache, positions: Tensor, written: Tensor, span: int
    ) -> Tensor:
        return operators.transformer(
            x,
            cache.keys,
            cache.values,
            positions.expand(x.shape[:2]),
            written.expand(x.shape[:2]),
            span,
            self.weights,
            self.cos,
            self.sin,
            self.shape,
            self.config.norm_eps,
        )

    def _matrices(self) -> dict[str, tuple[int, int]]:
        """What there is of a layer, in order: rows and columns, and no rows where it is a norm."""
        config = self.config
        attended = config.heads * config.head_dim
        inner = up_to(config.intermediate_size, PADDED)
        return {
            "attention_norm": (0, config.hidden_size),
            "qkv": (attended + 2 * config.kv_heads * config.head_dim, config.hidden_size),
            "out": (config.hidden_size, attended),
            "mlp_norm": (0, config.hidden_size),
            "gate_up": (2 * inner, config.hidden_size),
            "down": (config.hidden_size, config.intermediate_size),
        }

    def _take(self, layer: Layer, places: Iterator[Tensor]) -> None:
        """Packs a layer, in the order of `Layer` in `kernels/transformer.h`."""
        order = _interleaved(self.config.intermediate_size)
        _copy_norm(layer.attention_norm, next(places))
        pack(layer.attention.qkv.weight, self.form, next(places))
        pack(layer.attention.out.weight, self.form, next(places))
        _copy_norm(layer.mlp_norm, next(places))
        pack(layer.mlp.gate_up.weight, self.form, next(places), order)
        pack(layer.mlp.down.weight, self.form, next(places))

    def _sizes(self) -> list[int]:
        return [
            packed_bytes(rows, columns, self.form) if rows else _floats(columns)
            for rows, columns in self._matrices().values()
        ]


def _interleaved(size: int) -> Tensor:
    """For 32 rows of the gate, the 32 of up that they gate, the next 32, ...: which row each is."""
    rows = torch.arange(up_to(size, PADDED))
    rows = torch.where(rows < size, rows, -1).unflatten(0, (-1, GROUP))
    return torch.stack((rows, torch.where(rows < 0, -1, rows + size)), dim=1).flatten()


def _copy_norm(norm: nn.Module, to: Tensor) -> None:
    weight = norm.weight.detach().float()  # type: ignore[union-attr]
    to.view(torch.float32)[: len(weight)] = weight


def _floats(count: int) -> int:
    """Bytes of so many float32, up to a whole 64."""
    return up_to(4 * count, 64)
