"""The transformers on both sides of the quantizer: at 25 Hz, with a sliding window."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from pipecat_csm.model.config import MimiConfig
from pipecat_csm.model.mimi.project import Finished, project

_ALIGNMENT = 8  # CUDA's attention kernels want masks whose rows begin at multiples of it


class Placement(NamedTuple):
    """Where the new positions stand; the same for all layers.

    Attributes:
        streams: [batch, 1]; slots: [batch, time]: where in the ring the positions are written.
        mask: Which slots each position sees, bool [batch, 1, time, capacity].
        cos, sin: The rotation, [batch, time, heads + 2 * kv_heads, head_dim].
    """

    streams: Tensor
    slots: Tensor
    mask: Tensor
    cos: Tensor
    sin: Tensor


class Attention(Finished):
    """Rotary attention over a ring of keys and values."""

    qkv: Tensor

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        width, kv_width = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.register_buffer("qkv", None, persistent=False)

    def finish(self) -> None:
        """Puts the three projections into one matrix, of which they become views."""
        parts = [self.q_proj.weight, self.k_proj.weight, self.v_proj.weight]
        self.qkv = torch.cat([part.detach() for part in parts])
        for part, rows in zip(parts, self.qkv.split([len(p) for p in parts]), strict=True):
            part.data = rows

    def forward(self, x: Tensor, cache: Tensor, place: Placement) -> Tensor:
        batch, time, _ = x.shape
        qkv = project(x, self.qkv).view(batch, time, -1, self.head_dim)
        # The values' cos is 1 and their sin 0, so that keys and values are one block to write.
        qkv = torch.addcmul(qkv * place.cos, qkv.roll(self.head_dim // 2, -1), place.sin)
        cache[place.streams, place.slots] = qkv[:, :, self.heads :]
        y = scaled_dot_product_attention(
            qkv[:, :, : self.heads].transpose(1, 2),
            cache[:, :, : self.kv_heads].transpose(1, 2),
            cache[:, :, self.kv_heads :].transpose(1, 2),
            attn_mask=place.mask,
            enable_gqa=self.kv_heads != self.heads,
        )
        return project(y.transpose(1, 2).reshape(batch, time, -1), self.o_proj.weight)


class MLP(nn.Module):
    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return project(gelu(project(x, self.fc1.weight)), self.fc2.weight)


class LayerScale(nn.Module):
    """Adds a branch to the trunk, each channel by a learnt factor (arXiv 2103.17239)."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(config.hidden_size))

    def forward(self, trunk: Tensor, branch: Tensor) -> Tensor:
        return torch.addcmul(trunk, self.scale, branch)


class Layer(nn.Module):
    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn_layer_scale = LayerScale(config)
        self.mlp_layer_scale = LayerScale(config)

    def forward(self, x: Tensor, cache: Tensor, place: Placement) -> Tensor:
        branch = self.self_attn(self.input_layernorm(x), cache, place)
        x = self.self_attn_layer_scale(x, branch)
        return self.mlp_layer_scale(x, self.mlp(self.post_attention_layernorm(x)))


class Transformer(Finished):
    """Layers over hidden states at 25 Hz, at most `longest` positions a step.

    A query at p sees p - window + 1 ... p. The ring holds that of the first query of a step and of
    the last, so it is a little longer than the window: what one writes, no other still needs.
    """

    frequencies: Tensor

    def __init__(self, config: MimiConfig, longest: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])
        self.config, self.longest = config, longest
        needed = config.sliding_window + longest  # the ring, and a scratch position behind it
        self.capacity = -(-needed // _ALIGNMENT) * _ALIGNMENT
        self.register_buffer("frequencies", None, persistent=False)

    def finish(self) -> None:
        """Computes the frequencies of the rotation."""
        device = next(self.parameters()).device
        dim = self.config.head_dim
        exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
        self.frequencies = (1.0 / self.config.rope_theta**exponents).to(device)

    def caches(self, batch: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        """The rings of `batch` streams that have not begun, one a layer."""
        shape = (batch, self.capacity, 2 * self.config.num_key_value_heads, self.config.head_dim)
        return [torch.zeros(shape, device=device, dtype=dtype) for _ in self.layers]

    def forward(
        self, x: Tensor, start: Tensor, caches: tuple[Tensor, ...], active: Tensor | None
    ) -> Tensor:
        """The last layer's output for `x` [batch, time, hidden], which begins at position `start`.

        `start` is int64 [batch]; where `active` (bool [batch]; None: everywhere) is false, the
        stream's ring stays as it is.
        """
        place = self._place(x, start, active)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, cache, place)
        return x

    def _place(self, x: Tensor, start: Tensor, active: Tensor | None) -> Placement:
        ring = self.capacity - 1
        batch, time, _ = x.shape
        positions = start[:, None] + torch.arange(time, device=x.device)
        slots = positions % ring
        if active is not None:
            slots = torch.where(active[:, None], slots, ring)
        every = torch.arange(self.capacity, device=x.device)
        last = positions[:, -1:]
        held = last - (last - every) % ring  # the position that each slot holds, below 0 if none
        held = torch.where(every < ring, held, -1)[:, None, None, :]
        query = positions[:, None, :, None]
        oldest = (query - self.config.sliding_window).clamp(min=-1)
        mask = (held <= query) & (held > oldest)
        cos, sin = self._rotation(positions, x.dtype)
        streams = torch.arange(batch, device=x.device)[:, None]
        return Placement(streams, slots, mask, cos, sin)

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        # In float32 whatever the weights are, as transformers has it; computed rather than looked
        # up, so that a stream may be of any length.
        angles = positions[:, :, None, None].float() * self.frequencies.float()
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        cos, sin = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
        turned = self.config.num_attention_heads + self.config.num_key_value_heads
        still = self.config.num_key_value_heads
        batch, time, _, dim = cos.shape
        return (
            torch.cat((cos.expand(-1, -1, turned, -1), cos.new_ones(batch, time, still, dim)), 2),
            torch.cat((sin.expand(-1, -1, turned, -1), sin.new_zeros(batch, time, still, dim)), 2),
        )
