"""Rotary position embedding, with Llama 3's scaling of the low frequencies."""

import math

import torch
from torch import Tensor

from pipecat_csm.model.config import RopeConfig


def rope_table(config: RopeConfig, head_dim: int, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position, float32, each [positions, head_dim].

    In the half-rotation order of transformers: dimension i turns with i + head_dim / 2.
    Computed in float32, whatever the model's dtype, as the reference does.
    """
    angles = torch.arange(positions).float()[:, None] * _frequencies(config, head_dim)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns x [..., head_dim] by angles that broadcast against it."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _frequencies(config: RopeConfig, head_dim: int) -> Tensor:
    exponents = torch.arange(0, head_dim, 2).float() / head_dim
    frequencies = 1.0 / config.theta**exponents
    if config.factor is None:
        return frequencies
    # Llama 3.1: waves longer than the original context are stretched, short ones kept, and
    # those between go from one to the other.
    wavelengths = 2 * math.pi / frequencies
    longest = config.original_max_positions / config.low_freq_factor
    shortest = config.original_max_positions / config.high_freq_factor
    share = (config.original_max_positions / wavelengths - config.low_freq_factor) / (
        config.high_freq_factor - config.low_freq_factor
    )
    between = (1 - share) * frequencies / config.factor + share * frequencies
    scaled = torch.where(wavelengths > longest, frequencies / config.factor, frequencies)
    return torch.where((wavelengths <= longest) & (wavelengths >= shortest), between, scaled)
