"""How a codec's decoder begins: as an inverse cosine transform, which can be taught to speak.

From random weights no partial of a voice had come out of its transposed convolutions in an hour.
Some of the channels are therefore set so that the whole of the net is a transform of blocks of 40
ms: the first convolution gives the lowest coefficients (192 of them reach to 2.4 kHz), each once as
it is and once with its sign turned, since what ELU takes from the one it leaves to the other; the
next makes the samples of a block, 120 channels at 200 Hz; and the others only lay those out in
time, at a level at which ELU changes nothing. What the transformers before it have to learn is then
how loud which partial is. The other channels begin at random and silent, for what hisses.
"""

import math
from typing import Any

import torch
from torch import Tensor

_BLOCK_SAMPLES = 960
_LEVEL = 0.15  # of a block whose coefficients are 1
_OFFSET = 1.0  # ELU is straight above -1, and samples are not below
_OTHERS = 0.3


@torch.no_grad()
def as_cosine_transform(net: Any, latents: Tensor) -> None:
    """Sets the weights of a decoder's convolutions.

    Args:
        net: transformers' `MimiDecoder`; one too narrow to hold the samples stays as it is.
        latents: Some of what it is given, [clips, hidden, blocks], to set the levels by.
    """
    first, *spreading, last = [layer.conv for layer in net.layers if hasattr(layer, "conv")]
    rests = [layer for layer in net.layers if hasattr(layer, "block")]
    samples = [_BLOCK_SAMPLES]
    for conv in spreading:
        samples.append(samples[-1] // conv.stride[0])
    widths = [conv.out_channels for conv in spreading]
    if any(width < count for width, count in zip(widths, samples[1:], strict=True)):
        return
    _level_others(net, latents, spreading)
    coefficients = first.out_channels // 2
    first.weight.zero_()
    first.bias.zero_()
    _make_blocks(spreading[0], coefficients, samples[1])
    for conv, count, of in zip(spreading[1:], samples[2:], samples[1:], strict=False):
        _lay_out(conv, of, count)
    for rest, count in zip(rests, samples[1:], strict=True):
        adds = rest.block[-1].conv
        adds.weight[:count] = 0
        adds.bias[:count] = 0
    last.weight.zero_()
    last.weight[0, 0, -1] = 1
    last.bias.fill_(-_OFFSET)


def _make_blocks(conv: Any, coefficients: int, samples: int) -> None:
    """The transposed convolution that turns coefficients, and their negatives, into samples."""
    at = (torch.arange(_BLOCK_SAMPLES) + 0.5) * math.pi / _BLOCK_SAMPLES
    waves = (torch.arange(coefficients)[:, None] * at).cos() * math.sqrt(2 / _BLOCK_SAMPLES)
    waves[0] /= math.sqrt(2)
    kernel = _LEVEL * waves.view(coefficients, conv.stride[0], samples).transpose(1, 2)
    conv.weight[:, :samples] = 0
    conv.weight[:coefficients, :samples, : conv.stride[0]] = kernel
    conv.weight[coefficients : 2 * coefficients, :samples, : conv.stride[0]] = -kernel
    conv.bias[:samples] = _OFFSET


def _lay_out(conv: Any, many: int, few: int) -> None:
    """The one that takes `many` channels apart into so `few`, of more positions."""
    conv.weight[:, :few] = 0
    for channel in range(many):
        conv.weight[channel, channel % few, channel // few] = 1
    conv.bias[:few] = 0  # the offset of what comes in


def _level_others(net: Any, latents: Tensor, spreading: list[Any]) -> None:
    for conv in spreading:
        found: list[Tensor] = []
        hook = conv.register_forward_hook(lambda *args, found=found: found.append(args[-1]))
        net(latents)
        hook.remove()
        scale = _OTHERS / found[0].std().clamp(min=1e-8)
        conv.weight.mul_(scale)
        conv.bias.mul_(scale)
