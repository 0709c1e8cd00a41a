"""A Llama-style transformer over a key-value cache that is passed in."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import Tensor, nn

from pipecat_csm.model.config import TransformerConfig
from pipecat_csm.model.rope import rope_table, rotate


@dataclass(frozen=True)
class KVCache:
    """Keys and values of every slot, at fixed addresses.

    Attributes:
        keys: [layers, slots, positions + 1, kv_heads, head_dim]. The last position is a bin:
            rows that must leave no trace write there, so that no step needs a branch.
        values: Likewise.
    """

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(
        cls,
        config: TransformerConfig,
        slots: int,
        positions: int,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> "KVCache":
        """A cache of zeros."""
        shape = (config.layers, slots, positions + 1, config.kv_heads, config.head_dim)
        return cls(*(torch.zeros(shape, device=device, dtype=dtype) for _ in range(2)))

    @property
    def bin(self) -> int:
        """The position that nobody reads."""
        return self.keys.shape[2] - 1

    def rows(self, first: int, count: int) -> "KVCache":
        """A view of some slots."""
        return KVCache(self.keys.narrow(1, first, count), self.values.narrow(1, first, count))

    def copy_slot(self, source: int, target: int, positions: int) -> None:
        """Copies what a slot holds at its first positions."""
        for cache in (self.keys, self.values):
            cache[:, target, :positions].copy_(cache[:, source, :positions])


class Place(NamedTuple):
    """Where the rows of a batch stand in their slots; the same for every layer.

    Attributes:
        cos: Broadcasts against [batch, time, heads, head_dim], as does `sin`.
        sin: Of the same angles.
        slots: [batch, 1] int64, the rows of the cache.
        written: [batch or 1, time] int64, the positions that keys and values are written to.
        seen: [batch or 1, 1, time, span] bool, which of the first `span` positions each row sees.
    """

    cos: Tensor
    sin: Tensor
    slots: Tensor
    written: Tensor
    seen: Tensor


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 as the reference does."""

    def __init__(self, size: int, eps: float) -> None:
        """`size` is the last dimension's."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x [..., size] to the same shape."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention with one matrix for queries, keys and values."""

    def __init__(self, config: TransformerConfig) -> None:
        """Makes empty weights."""
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        rows = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.hidden_size, rows, bias=False)
        self.out = nn.Linear(config.heads * config.head_dim, config.hidden_size, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (both turned) and values of x [batch, time, hidden].

        Each is [batch, time, heads or kv_heads, head_dim]; `cos` and `sin` broadcast against it.
        """
        heads, kv_heads = self.heads, self.kv_heads
        q, k, v = (
            self.qkv(x)
            .unflatten(-1, (heads + 2 * kv_heads, self.head_dim))
            .split((heads, kv_heads, kv_heads), dim=2)
        )
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, place: Place) -> Tensor:
        """x [batch, time, hidden] to the same shape; `keys` and `values` gain its rows."""
        time, kv_heads = x.shape[1], self.kv_heads
        q, k, v = self.project(x, place.cos, place.sin)
        keys[place.slots, place.written] = k
        values[place.slots, place.written] = v
        # The heads that share a key are its rows, so that no key is repeated for them.
        group, span = self.heads // kv_heads, place.seen.shape[-1]
        q = q.unflatten(2, (kv_heads, group)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        seen = place.seen if time == 1 else place.seen.repeat(1, 1, group, 1)
        x = F.scaled_dot_product_attention(
            q, keys[:, :span].transpose(1, 2), values[:, :span].transpose(1, 2), attn_mask=seen
        )
        x = x.unflatten(2, (group, time)).permute(0, 3, 1, 2, 4)
        return self.out(x.flatten(2))


class MLP(nn.Module):
    """SwiGLU with one matrix for gate and up."""

    def __init__(self, config: TransformerConfig) -> None:
        """Makes empty weights."""
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., hidden] to the same shape."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and beside the residual."""

    def __init__(self, config: TransformerConfig) -> None:
        """Makes empty weights."""
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, place: Place) -> Tensor:
        """x [batch, time, hidden] to the same shape.

        Args:
            x: The rows.
            keys: [batch, positions + 1, kv_heads, head_dim], this layer's; changed in place.
            values: Likewise.
            place: Where the rows stand.
        """
        x = x + self.attention(self.attention_norm(x), keys, values, place)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """The layers and the final norm; the same for the backbone and the depth decoder."""

    cos: Tensor
    sin: Tensor
    places: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        """Makes empty weights; `finish` makes the tables."""
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)

    def finish(self) -> None:
        """Makes the tables of angles and positions, on the weights' device."""
        weight = self.norm.weight
        angles = rope_table(self.config.rope, self.config.head_dim, self.config.max_positions)
        cos, sin = (table.to(weight.device, weight.dtype)[:, None] for table in angles)
        places = torch.arange(self.config.max_positions, device=weight.device)
        tables = {"cos": cos, "sin": sin, "places": places}
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def over_slots(
        self, x: Tensor, cache: KVCache, positions: Tensor, keep: Tensor, span: int
    ) -> Tensor:
        """Runs rows at positions of their own, each in its slot.

        Args:
            x: [batch, time, hidden]; row b continues slot b of `cache`.
            cache: Of `batch` slots; what is kept is written into it.
            positions: [batch, time] int64, below the model's `max_positions`.
            keep: [batch, time] bool; what is not kept goes into the bin.
            span: Attention reads this many positions of the cache, and no more; all that are
                attended to must be within.

        Returns:
            [batch, time, hidden], after the final norm.
        """
        place = Place(
            cos=self.cos[positions],
            sin=self.sin[positions],
            slots=torch.arange(len(x), device=x.device)[:, None],
            written=torch.where(keep, positions, cache.bin),
            seen=self.places[:span] <= positions[:, None, :, None],
        )
        return self.norm(self._layers(x, cache, place))

    def in_step(self, x: Tensor, cache: KVCache, position: int) -> Tensor:
        """Runs rows that are all at the same position, known when the code is traced.

        Args:
            x: [batch, time, hidden], at `position` and after it; from position 0 causal, later
                one at a time.
            cache: Written at these positions; read up to them.
            position: Of the first of them.

        Returns:
            [batch, hidden]: the last one's, after the final norm.
        """
        end = position + x.shape[1]
        at = self.places[position:end]
        # All of a cache this short is looked at, so that one graph serves every position.
        place = Place(
            cos=self.cos[position:end],
            sin=self.sin[position:end],
            slots=torch.arange(len(x), device=x.device)[:, None],
            written=at[None],
            seen=(self.places[: cache.bin] <= at[:, None])[None, None],
        )
        return self.norm(self._layers(x, cache, place)[:, -1])

    def _layers(self, x: Tensor, cache: KVCache, place: Place) -> Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(x, cache.keys[index], cache.values[index], place)
        return x
