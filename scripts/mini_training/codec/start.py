"""How a codec's decoder begins: as an inverse cosine transform, which can be taught to speak.

From random weights no partial of a voice had come out of its transposed convolutions in an hour.
Some of the channels are therefore set so that the whole of the net is a transform of blocks of 40
ms: the first convolution gives the lowest coefficients (128 of them reach to 1.6 kHz), each once as
it is and once with its sign turned, since what ELU takes from the one it leaves to the other; the
next makes the samples of a block, 120 channels at 200 Hz; and the others only lay those out in
time, at a level at which ELU changes nothing. What the transformers before it have to learn is then
how loud which partial is. The other channels begin at random and silent, for all above, and a third
of the first convolution's is theirs alone: in a channel of the transform all is heard as a tone.
"""

import math
from collections.abc import Iterator
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
    first, *spreading, last = _convolutions(net)
    samples = _samples(spreading)
    if not samples:
        return
    _level_others(net, latents, spreading)
    coefficients = first.out_channels // 3
    first.weight.zero_()
    first.bias.zero_()
    _make_blocks(spreading[0], coefficients, samples[1])
    for conv, count, of in zip(spreading[1:], samples[2:], samples[1:], strict=False):
        _lay_out(conv, of, count)
    for adds, count in zip(_additions(net), samples[1:], strict=True):
        adds.weight[:count] = 0
        adds.bias[:count] = 0
    last.weight.zero_()
    last.weight[0, 0, -1] = 1
    last.bias.fill_(-_OFFSET)


def hold(net: Any) -> None:
    """From now on no gradient reaches what carries the samples: it stays the transform it is.

    A few dozen of Adam's steps would undo it, at the rate at which the other channels, which make
    all above 1.6 kHz, have to learn. The weight decay takes a hundredth of it in an hour.
    """
    for parameter, held in _transform(net):
        kept = torch.ones_like(parameter)
        kept[held] = 0
        parameter.register_hook(lambda grad, kept=kept: grad * kept.to(grad.device))


def _transform(net: Any) -> Iterator[tuple[Tensor, Any]]:
    """Which parts of which parameters carry the samples of a block, after the first convolution."""
    _, *spreading, last = _convolutions(net)
    samples = _samples(spreading)
    for conv, adds, count in zip(spreading, _additions(net), samples[1:], strict=False):
        yield conv.weight, (slice(None), slice(count))  # [in, out, taps]
        yield conv.bias, slice(count)
        yield adds.weight, slice(count)
        yield adds.bias, slice(count)
    if samples:
        yield last.weight, (0, 0)
        yield last.bias, slice(None)


def _convolutions(net: Any) -> list[Any]:
    """The first, those that spread, and the last."""
    return [layer.conv for layer in net.layers if hasattr(layer, "conv")]


def _additions(net: Any) -> list[Any]:
    """What each of the blocks in between adds."""
    return [layer.block[-1].conv for layer in net.layers if hasattr(layer, "block")]


def _samples(spreading: list[Any]) -> list[int]:
    """Channels that hold a block before and after each of these; none if there are too few."""
    samples = [_BLOCK_SAMPLES]
    for conv in spreading:
        samples.append(samples[-1] // conv.stride[0])
        if conv.out_channels < samples[-1]:
            return []
    return samples


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
