"""Mimi's decoder in one call, its weights in the order in which the kernels read them."""

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pipecat_csm.model.config import MimiConfig
from pipecat_csm.model.mimi import DecodeState, Mimi
from pipecat_csm.model.native.operators import loaded, room
from pipecat_csm.model.native.packing import up_to

_LANES = 16  # channels and rows are padded to a multiple of it
_long, _pointer = ctypes.c_int64, ctypes.c_void_p


class NativeDecoder(nn.Module):
    """What `Mimi.decode_step` does, in float32 as there."""

    weights: Tensor
    table: Tensor
    frequencies: Tensor

    def __init__(self, mimi: Mimi) -> None:
        """Takes the decoder's weights from `mimi`, for which `fits` holds."""
        super().__init__()
        self.config = mimi.config
        self.capacity = mimi.decoder_transformer.capacity
        self.projected = mimi.quantizer.projection is not None
        parts = list(_weights(mimi))
        weights = room(4 * sum(map(len, parts))).view(torch.float32)
        torch.cat(parts, out=weights)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("table", mimi.quantizer.table, persistent=False)
        frequencies = mimi.decoder_transformer.frequencies
        self.register_buffer("frequencies", frequencies, persistent=False)
        for module in (mimi.decoder, mimi.decoder_transformer.layers):
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = tensor.data.new_empty(0)

    @staticmethod
    def fits(mimi: Mimi) -> bool:
        """Whether the kernels know a codec of this shape, dtype and device."""
        config = mimi.config
        return (
            (mimi.device.type, mimi.dtype) == ("cpu", torch.float32)
            and config.upsample_groups == config.hidden_size
            and config.num_residual_layers == 1
            and not config.use_conv_shortcut
            and min(config.kernel_size, config.last_kernel_size, config.residual_kernel_size) > 1
        )

    def forward(self, codes: Tensor, state: DecodeState, active: Tensor) -> Tensor:
        """The sound [batch, frame_samples] of codes [batch, codebooks]; see `Mimi.decode_step`."""
        return decode(
            codes,
            active,
            state.steps,
            state.tails,
            state.caches,
            self.weights,
            self.table,
            self.frequencies,
            self._shape(self.config),
            self.config.upsampling_ratios,
            self.config.norm_eps,
            self.config.frame_samples,
        )

    def _shape(self, config: MimiConfig) -> tuple[int, ...]:
        """What the kernels must know, in the order of their `Mimi`."""
        return (
            config.num_quantizers,
            config.codebook_size,
            config.codebook_dim,
            config.num_semantic_quantizers,
            int(self.projected),
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.intermediate_size,
            config.sliding_window,
            self.capacity,
            config.num_filters,
            config.kernel_size,
            config.last_kernel_size,
            config.residual_kernel_size,
            config.compress,
            len(config.upsampling_ratios),
        )


def _weights(mimi: Mimi) -> Iterator[Tensor]:
    """All that the decoder reads, in the order of `kernels/codec.h`, each float32 [numbers]."""
    if mimi.quantizer.projection is not None:
        yield _matrix(mimi.quantizer.projection)
    yield _vector(mimi.upsample.conv.weight[:, 0].T.flatten())
    for layer in mimi.decoder_transformer.layers:
        part: Any = layer
        yield _vector(part.input_layernorm.weight)
        yield _vector(part.input_layernorm.bias)
        yield _matrix(part.self_attn.qkv)
        yield _matrix(part.self_attn.o_proj.weight)
        yield _vector(part.self_attn_layer_scale.scale)
        yield _vector(part.post_attention_layernorm.weight)
        yield _vector(part.post_attention_layernorm.bias)
        yield _matrix(part.mlp.fc1.weight)
        yield _matrix(part.mlp.fc2.weight)
        yield _vector(part.mlp_layer_scale.scale)
    first, *stages, last = [x for x in mimi.decoder.layers if not isinstance(x, nn.ELU)]
    yield from _convolution(first)
    for upsampling, block in zip(stages[::2], stages[1::2], strict=True):
        conv: Any = upsampling
        # [2, stride, channels]: all channels of a moment beside each other.
        yield _matrix(conv.conv.weight.permute(2, 1, 0).flatten(0, 1))
        yield _vector(conv.conv.bias)
        convolutions: Any = block
        for convolution in convolutions.block[1::2]:
            yield from _convolution(convolution)
    yield from _convolution(last)


def _convolution(module: Any) -> Iterator[Tensor]:
    weight = module.conv.weight.transpose(1, 2)  # as the channels of moments lie in a signal
    missing = up_to(weight.shape[2], _LANES) - weight.shape[2]
    yield _matrix(pad(weight, (0, missing)).flatten(1))
    yield _vector(module.conv.bias)


def _vector(x: Tensor) -> Tensor:
    return pad(x.detach(), (0, up_to(len(x), _LANES) - len(x)))


def _matrix(weight: Tensor) -> Tensor:
    """Blocks of 16 rows, in each of which the rows of a column are beside each other."""
    rows, columns = weight.shape
    missing = up_to(columns, _LANES) - columns, up_to(rows, _LANES) - rows
    wide = pad(weight.detach(), (0, missing[0], 0, missing[1]))
    return wide.unflatten(0, (-1, _LANES)).transpose(1, 2).flatten()


class _Mimi(ctypes.Structure):
    """`Mimi` of `kernels/codec.h`."""

    _fields_ = (
        ("shape", _long * 19),
        ("ratio", ctypes.POINTER(_long)),
        ("norm_eps", ctypes.c_double),
        *((name, _pointer) for name in ("frequencies", "weights", "table")),
    )


class _State(ctypes.Structure):
    """`MimiState` of `kernels/codec.h`."""

    _fields_ = (
        ("steps", _pointer),
        *((name, ctypes.POINTER(_pointer)) for name in ("tails", "caches")),
    )


@torch.library.custom_op(
    "pipecat_csm::decode", mutates_args=("tails", "caches"), device_types="cpu"
)
def decode(
    codes: Tensor,
    active: Tensor,
    steps: Tensor,
    tails: Sequence[Tensor],
    caches: Sequence[Tensor],
    weights: Tensor,
    table: Tensor,
    frequencies: Tensor,
    shape: Sequence[int],
    ratios: Sequence[int],
    eps: float,
    samples: int,
) -> Tensor:
    """A frame's sound [batch, samples] of each stream that is active; zeros elsewhere.

    Args:
        codes: [batch, codebooks] int64.
        active: [batch] bool.
        steps: As `DecodeState` has it, as for what follows up to `caches`, which is changed.
        tails: Likewise.
        caches: Likewise.
        weights: float32, as `NativeDecoder` packs them.
        table: float32 [codebooks, codebook_size, dim].
        frequencies: float32 [head_dim / 2].
        shape: Of `_Mimi`.
        ratios: Of the upsamplings.
        eps: Of the norms.
        samples: Of a frame.
    """
    codes, active = codes.contiguous(), active.contiguous()
    sound = torch.empty(len(codes), samples)
    pointers = [(_pointer * len(x))(*(t.data_ptr() for t in x)) for x in (tails, caches)]
    state = _State(steps.data_ptr(), *pointers)
    mimi = _Mimi(
        (_long * len(shape))(*shape),
        (_long * len(ratios))(*ratios),
        eps,
        *(t.data_ptr() for t in (frequencies, weights, table)),
    )
    loaded().csm_decode(
        ctypes.byref(mimi),
        ctypes.byref(state),
        _pointer(codes.data_ptr()),
        _pointer(active.data_ptr()),
        _long(len(codes)),
        _long(samples),
        _pointer(sound.data_ptr()),
        torch.get_num_threads(),
    )
    return sound


@decode.register_fake
def _(codes: Tensor, *rest: Any) -> Tensor:
    return codes.new_empty(len(codes), rest[-1], dtype=torch.float32)
