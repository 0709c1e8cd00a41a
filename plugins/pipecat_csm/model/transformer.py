"""A Llama-style transformer over a key-value cache that is passed in."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import Tensor, nn

from pipecat_csm.model.config import TransformerConfig
from pipecat_csm.model.rope import rope_table, rotate


@dataclass(frozen=True)
class KVCache:
    """Keys and values of every slot, at fixed addresses.

    Attributes:
        keys: [layers, slots, kv_heads, positions + 1, head_dim]. The last position is a bin:
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
        shape = (config.layers, slots, config.kv_heads, positions + 1, config.head_dim)
        return cls(*(torch.zeros(shape, device=device, dtype=dtype) for _ in range(2)))

    @property
    def bin(self) -> int:
        """The position that nobody reads."""
        return self.keys.shape[3] - 1

    def rows(self, first: int, count: int) -> "KVCache":
        """A view of some slots."""
        return KVCache(self.keys.narrow(1, first, count), self.values.narrow(1, first, count))

    def copy_slot(self, source: int, target: int, positions: int) -> None:
        """Copies what a slot holds at its first positions."""
        for cache in (self.keys, self.values):
            cache[:, target, :, :positions].copy_(cache[:, source, :, :positions])


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

        `cos` and `sin` broadcast against [batch, heads, time, head_dim], and so is the result
        laid out, with heads or kv_heads.
        """
        batch, time, _ = x.shape
        q, k, v = (
            self.qkv(x)
            .view(batch, time, self.heads + 2 * self.kv_heads, self.head_dim)
            .transpose(1, 2)
            .split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        )
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of q [batch, heads, time, head_dim] over keys and values, projected out."""
        x = F.scaled_dot_product_attention(
            q, keys, values, attn_mask=mask, enable_gqa=self.heads != self.kv_heads
        )
        return self.out(x.transpose(1, 2).flatten(2))


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


class Transformer(nn.Module):
    """The layers and the final norm; the same for the backbone and the depth decoder."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        """Makes empty weights; `finish` makes the tables."""
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)

    def finish(self) -> None:
        """Makes the tables of angles on the weights' device and in their dtype."""
        weight = self.norm.weight
        tables = rope_table(self.config.rope, self.config.head_dim, self.config.max_positions)
        for name, table in zip(("cos", "sin"), tables, strict=True):
            self.register_buffer(name, table.to(weight.device, weight.dtype), persistent=False)

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
        cos, sin = self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)
        written = torch.where(keep, positions, cache.bin)[:, None, :, None]
        seen = torch.arange(span, device=x.device) <= positions[:, None, :, None]
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            keys, values = cache.keys[index], cache.values[index]
            q, k, v = layer.attention.project(layer.attention_norm(x), cos, sin)
            where = written.expand_as(k)
            keys.scatter_(2, where, k)
            values.scatter_(2, where, v)
            x = x + layer.attention.attend(q, keys[:, :, :span], values[:, :, :span], seen)
            x = x + layer.mlp(layer.mlp_norm(x))
        return self.norm(x)

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
        cos, sin = self.cos[position:end], self.sin[position:end]
        mask = None
        if x.shape[1] > 1:
            assert position == 0, "only the first rows of a frame run together"
            mask = torch.ones(end, end, dtype=torch.bool, device=x.device).tril()
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            keys, values = cache.keys[index], cache.values[index]
            q, k, v = layer.attention.project(layer.attention_norm(x), cos, sin)
            keys[:, :, position:end].copy_(k)
            values[:, :, position:end].copy_(v)
            x = x + layer.attention.attend(q, keys[:, :, :end], values[:, :, :end], mask)
            x = x + layer.mlp(layer.mlp_norm(x))
        return self.norm(x[:, -1])
