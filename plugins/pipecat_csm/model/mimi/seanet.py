"""SEANet: the convolutions between sound at 24 kHz and hidden states at 25 Hz."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipecat_csm.model.config import MimiConfig
from pipecat_csm.model.mimi.conv import (
    StreamingConv1d,
    StreamingConvTranspose1d,
    StreamingModule,
)


class Stack(StreamingModule):
    """Layers one after another, some of which remember."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def tails(self, batch: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        return _tails(self.layers, batch, device, dtype)

    def step(self, x: Tensor, tails: Iterator[Tensor], active: Tensor | None) -> Tensor:
        return _step(self.layers, x, tails, active)


class ResidualBlock(StreamingModule):
    """Narrower, and back, added to what came in."""

    def __init__(self, config: MimiConfig, channels: int, dilation: int) -> None:
        super().__init__()
        inner = channels // config.compress
        kernel = config.residual_kernel_size
        self.block = nn.ModuleList(
            [
                nn.ELU(),
                StreamingConv1d(channels, inner, kernel, dilation=dilation),
                nn.ELU(),
                StreamingConv1d(inner, channels, 1),
            ]
        )
        self.shortcut = StreamingConv1d(channels, channels, 1) if config.use_conv_shortcut else None

    def tails(self, batch: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        return _tails(self.block, batch, device, dtype)

    def step(self, x: Tensor, tails: Iterator[Tensor], active: Tensor | None) -> Tensor:
        y = _step(self.block, x, tails, active)
        return y + (x if self.shortcut is None else self.shortcut.conv(x))


def encoder(config: MimiConfig) -> Stack:
    """Sound [batch, 1, samples] to hidden states [batch, hidden, positions] at 25 Hz."""
    channels = config.num_filters
    layers: list[nn.Module] = [StreamingConv1d(1, channels, config.kernel_size)]
    for ratio in reversed(config.upsampling_ratios):
        layers += _blocks(config, channels)
        layers += [nn.ELU(), StreamingConv1d(channels, 2 * channels, 2 * ratio, stride=ratio)]
        channels *= 2
    layers += [nn.ELU(), StreamingConv1d(channels, config.hidden_size, config.last_kernel_size)]
    return Stack(layers)


def decoder(config: MimiConfig) -> Stack:
    """Hidden states [batch, hidden, positions] at 25 Hz to sound [batch, 1, samples]."""
    channels = config.num_filters * 2 ** len(config.upsampling_ratios)
    layers: list[nn.Module] = [StreamingConv1d(config.hidden_size, channels, config.kernel_size)]
    for ratio in config.upsampling_ratios:
        layers += [nn.ELU(), StreamingConvTranspose1d(channels, channels // 2, ratio)]
        channels //= 2
        layers += _blocks(config, channels)
    layers += [nn.ELU(), StreamingConv1d(channels, 1, config.last_kernel_size)]
    return Stack(layers)


def _blocks(config: MimiConfig, channels: int) -> list[nn.Module]:
    growth = config.dilation_growth_rate
    return [ResidualBlock(config, channels, growth**i) for i in range(config.num_residual_layers)]


def _tails(
    layers: nn.ModuleList, batch: int, device: torch.device, dtype: torch.dtype
) -> list[Tensor]:
    streaming = (layer for layer in layers if isinstance(layer, StreamingModule))
    return [tail for layer in streaming for tail in layer.tails(batch, device, dtype)]


def _step(
    layers: nn.ModuleList, x: Tensor, tails: Iterator[Tensor], active: Tensor | None
) -> Tensor:
    for layer in layers:
        x = layer.step(x, tails, active) if isinstance(layer, StreamingModule) else layer(x)
    return x
