"""Mimi's convolutions as products of matrices, with the channels last.

The outer layers of a small codec have two dozen channels and 24,000 positions a second, and torch's
convolutions on a CPU are made for the opposite; nearly all of a step of the codec stage goes there.
Laid out as [clips, positions, channels], each of Mimi's convolutions is one product with a matrix
whose rows overlap or touch: a step took 2.05 s in place of 2.5 on two cores without bfloat16. The
numbers are the same up to rounding, and so are the weights: only `forward` is another.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.mimi.modeling_mimi import (
    MimiConv1d,
    MimiConvTranspose1d,
    MimiResnetBlock,
)


def use_products(mimi: Any) -> None:
    """Lets both of a codec's convolutional nets compute so; transformers' `MimiModel`."""
    for net in (mimi.encoder.encoder_seanet, mimi.decoder.decoder_seanet):
        net.forward = MethodType(_forward, net)


def _forward(net: Any, sound: Tensor, padding_cache: None = None) -> Tensor:
    assert padding_cache is None, "streams are for the engine"
    x = sound.transpose(1, 2)
    for layer in net.layers:
        x = _apply(layer, x)
    return x.transpose(1, 2)


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    match layer:
        case MimiConv1d():
            return convolved(x, layer.conv)
        case MimiConvTranspose1d():
            return spread(x, layer.conv)
        case MimiResnetBlock():
            y = x
            for inner in layer.block:
                y = _apply(inner, y)
            return x + y
        case _:
            return layer(x)


def convolved(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """A causal convolution of [clips, positions, channels], in whole strides."""
    (taps,), (stride,) = conv.kernel_size, conv.stride
    matrix = conv.weight.permute(2, 1, 0).flatten(0, 1)  # [taps * in, out]
    columns = x if taps == 1 else _Columns.apply(x, taps, stride)
    assert isinstance(columns, Tensor)
    flat = columns.flatten(0, 1)
    made = flat @ matrix if conv.bias is None else torch.addmm(conv.bias, flat, matrix)
    return made.unflatten(0, columns.shape[:2])


def spread(x: Tensor, conv: nn.ConvTranspose1d) -> Tensor:
    """A causal transposed convolution whose taps are twice its stride."""
    (taps,), (stride,) = conv.kernel_size, conv.stride
    assert taps == 2 * stride
    assert conv.bias is not None
    before = nn.functional.pad(x, (0, 0, 1, -1))
    both = torch.cat([x, before], dim=-1).flatten(0, 1)
    # What a position gives to its own samples, and what to those of the next.
    own, later = conv.weight.permute(0, 2, 1).split(stride, dim=1)  # each [in, stride, out]
    matrix = torch.cat([own.flatten(1), later.flatten(1)])
    made = torch.addmm(conv.bias.repeat(stride), both, matrix)
    return made.view(x.shape[0], x.shape[1] * stride, conv.out_channels)


class _Columns(torch.autograd.Function):
    """What every output of a convolution sees, side by side: [clips, outputs, taps * channels]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: int, stride: int) -> Tensor:
        ctx.shape, ctx.taps, ctx.stride = x.shape, taps, stride
        clips, positions, channels = x.shape
        padded = nn.functional.pad(x, (0, 0, taps - stride, 0)).contiguous()
        return padded.as_strided(
            (clips, positions // stride, taps * channels),
            (padded.stride(0), stride * channels, 1),
        ).contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (clips, positions, channels), taps, stride = ctx.shape, ctx.taps, ctx.stride
        outputs = positions // stride
        steps = taps // stride
        total = grads[0].new_zeros(clips, outputs + steps - 1, stride * channels)
        parts = grads[0].view(clips, outputs, steps, stride * channels)
        for step in range(steps):
            total[:, step : step + outputs] += parts[:, :, step]
        return total.view(clips, -1, channels)[:, taps - stride :], None, None
