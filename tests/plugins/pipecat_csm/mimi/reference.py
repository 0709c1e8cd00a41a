"""transformers' MimiModel, small and with random weights, and ours with the same weights."""

from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pipecat_csm.model.config import MimiConfig
from pipecat_csm.model.mimi import Mimi
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import MimiConfig as ReferenceConfig
from transformers import MimiModel

PLAIN: dict[str, Any] = {
    "hidden_size": 16,
    "num_filters": 4,
    "upsampling_ratios": [4, 2],
    "codebook_size": 64,
    "codebook_dim": 8,
    "vector_quantization_hidden_dimension": 8,
    "num_quantizers": 5,
    "upsample_groups": 16,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "sliding_window": 16,
}
"""As CSM-1B's codec, in small; 8 frames fill its window."""

ODD: dict[str, Any] = {
    **PLAIN,
    "upsampling_ratios": [5, 3],
    "codebook_dim": 16,
    "vector_quantization_hidden_dimension": 16,
    "num_semantic_quantizers": 2,
    "upsample_groups": 4,
    "num_key_value_heads": 1,
    "head_dim": 12,
    "num_residual_layers": 2,
    "residual_kernel_size": 5,
    "kernel_size": 5,
    "compress": 1,
    "use_conv_shortcut": True,
    "sliding_window": 7,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
}
"""Whatever a config can say that CSM-1B's does not."""

WIDE: dict[str, Any] = {**PLAIN, "sliding_window": 250}
"""With CSM-1B's window, which is 125 frames."""


@dataclass(frozen=True)
class Pair:
    """One set of weights in both models."""

    theirs: MimiModel
    ours: Mimi

    def codes(self, frames: int, seed: int = 0) -> Tensor:
        """Random codes [codebooks, frames]."""
        config = self.ours.config
        shape = (config.num_quantizers, frames)
        return torch.randint(config.codebook_size, shape, generator=_generator(seed))

    def sound(self, samples: int, seed: int = 0) -> Tensor:
        """Random sound [samples], loud and quiet by turns."""
        noise = torch.randn(samples, generator=_generator(seed), dtype=torch.float64)
        loudness = 1 + torch.arange(samples).div(500).sin()
        return (0.2 * loudness * noise).to(self.ours.dtype)

    @torch.no_grad()
    def their_sound(self, codes: Tensor) -> Tensor:
        """What transformers makes of a whole clip's codes [codebooks, frames]: [samples]."""
        return self.theirs.decode(codes[None]).audio_values[0, 0]  # type: ignore[union-attr]

    def loudness(self) -> Tensor:
        """The RMS of what transformers makes of random codes."""
        return self.their_sound(self.codes(50, seed=99)).square().mean().sqrt()

    @torch.no_grad()
    def their_codes(self, audio: Tensor) -> Tensor:
        """What transformers makes of a whole clip [samples], zero-padded to whole frames."""
        short = -len(audio) % self.ours.config.frame_samples
        audio = torch.nn.functional.pad(audio, (0, short))
        return self.theirs.encode(audio[None, None]).audio_codes[0]  # type: ignore[union-attr]


def make_pair(shape: dict[str, Any], dtype: torch.dtype, seed: int = 0) -> Pair:
    """Both models with the same random weights, whose sound has an RMS of 0.1."""
    config = ReferenceConfig(**shape)
    with TemporaryDirectory() as folder:
        MimiModel(config).save_pretrained(folder)
        file = Path(folder, "model.safetensors")
        tensors = load_file(file)
        _randomise(tensors, seed)
        loudness = _pair(folder, tensors, config, dtype).loudness()
        for name in (f"decoder.layers.{last_layer(config)}.conv.{n}" for n in ("weight", "bias")):
            tensors[name] *= 0.1 / loudness
        return _pair(folder, tensors, config, dtype)


def _pair(
    folder: str, tensors: dict[str, Tensor], config: ReferenceConfig, dtype: torch.dtype
) -> Pair:
    # By the file, because the names inside MimiModel moved between transformers 5.17 and 5.23.
    save_file(tensors, Path(folder, "model.safetensors"), metadata={"format": "pt"})
    theirs = MimiModel.from_pretrained(folder, dtype=dtype).eval()
    ours = Mimi(our_config(config)).to(dtype)
    ours.load_state_dict(used_by_us(tensors))
    ours.finish()
    return Pair(theirs, ours)


def our_config(config: ReferenceConfig) -> MimiConfig:
    """The same shape in our words."""
    names = {field.name for field in fields(MimiConfig)} - {"rope_theta", "upsampling_ratios"}
    known = {name: getattr(config, name) for name in names}
    theta: Any = (config.rope_parameters or {}).get("rope_theta")
    ratios = tuple(config.upsampling_ratios or ())
    return MimiConfig(**known, rope_theta=theta, upsampling_ratios=ratios)


def used_by_us(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What we load of transformers' tensors: all but a flag of the training."""
    return {name: tensor for name, tensor in tensors.items() if "initialized" not in name}


def last_layer(config: ReferenceConfig) -> int:
    """The number that the decoder's last convolution has in the file."""
    return 2 + len(config.upsampling_ratios or ()) * (2 + config.num_residual_layers)


def _randomise(tensors: dict[str, Tensor], seed: int) -> None:
    # transformers' own start would test little: codebooks of zeros, branches scaled by 0.01.
    draw = _generator(seed)
    for name, tensor in sorted(used_by_us(tensors).items()):
        noise = torch.randn(tensor.shape, generator=draw)
        if "cluster_usage" in name:
            tensor.copy_(noise.abs() + 0.5)
            tensor[3] = 1e-7  # seldom used: its vector is divided by 1e-5, not by less
        elif "embed_sum" in name:
            tensor.copy_(noise)
            tensor[3] *= 1e-5
        elif name.endswith(("norm.weight", "scale")):
            tensor.copy_(0.7 + 0.2 * noise)
        elif name.endswith("bias"):
            tensor.copy_(0.1 * noise)
        else:
            tensor.copy_(noise * tensor[0].numel() ** -0.5)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
