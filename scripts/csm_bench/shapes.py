"""Models of noise: CSM-1B's shape, or the tests' tiny one."""

from dataclasses import dataclass

import tokenizers
import torch
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.csm import CSMModel
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import nn
from transformers import CsmConfig

# Repeated over all weights: to draw a billion numbers takes longer than many a measurement.
_NOISE = 2**20


@dataclass(frozen=True)
class Shape:
    """The same dimensions, for our model and for transformers'."""

    config: CSMConfig
    reference: CsmConfig


def shape(*, tiny: bool) -> Shape:
    """CSM-1B's, or that of the tests."""
    if not tiny:
        return Shape(CSMConfig.csm_1b(), CsmConfig())
    from tests.plugins.pipecat_csm.tiny import tiny_config

    reference = tiny_config()
    return Shape(CSMConfig.from_transformers(reference.to_dict()), reference)


def empty_model(config: CSMConfig, dtype: torch.dtype) -> CSMModel:
    """Of the right shapes and types, and no memory; the codec in float32, as it is loaded."""
    with torch.device("meta"):
        model = CSMModel(config)
    for name, module in model.named_children():
        module.to(torch.float32 if name == "mimi" else dtype)
    return model


def random_model(config: CSMConfig, device: str, dtype: torch.dtype) -> CSMModel:
    """Full of noise, and finished."""
    model = empty_model(config, dtype).to_empty(device=device)
    fill(model)
    for name, buffer in model.named_buffers():
        if name.endswith("cluster_usage"):
            buffer.fill_(1.0)
    model.requires_grad_(False).eval().finish()
    return model


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Small noise in every weight."""
    noise = torch.randn(_NOISE, generator=torch.manual_seed(0)) * 0.02
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            ready = noise.to(tensor.device, tensor.dtype)
            for part in tensor.view(-1).split(_NOISE):
                part.copy_(ready[: len(part)])


def words() -> tokenizers.Tokenizer:
    """A token for each word: x0 to x99, also as the first of speaker 0; all others are one."""
    names = ["?", *(f"{label}x{number}" for label in ("", "[0]") for number in range(100))]
    tokenizer = tokenizers.Tokenizer(
        WordLevel(vocab={name: i for i, name in enumerate(names)}, unk_token="?")
    )
    tokenizer.pre_tokenizer = WhitespaceSplit()  # type: ignore
    return tokenizer
