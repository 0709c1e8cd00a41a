"""Checkpoints in Sesame's format with random weights, and what torchtune computes with them.

Written from SesameAILabs/csm's `models.py`, torchtune's modules and kyutai's moshi, and on purpose
sharing nothing with the loader: a mistake made twice would not be seen.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from pipecat_csm.model.config import CSMConfig, TransformerConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CsmForConditionalGeneration

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm, tiny_tokenizer

MIMI_FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"


def sesame_shapes(config: CSMConfig) -> dict[str, tuple[int, ...]]:
    """The names and shapes in Sesame's model.safetensors."""
    backbone, decoder = config.backbone, config.depth
    vocab, books = config.audio_vocab_size, config.codebooks
    shapes: dict[str, tuple[int, ...]] = {
        "text_embeddings.weight": (config.text_vocab_size, backbone.hidden_size),
        "audio_embeddings.weight": (vocab * books, backbone.hidden_size),
        "projection.weight": (decoder.hidden_size, backbone.hidden_size),
        "codebook0_head.weight": (vocab, backbone.hidden_size),
        "audio_head": (books - 1, decoder.hidden_size, vocab),
    }
    for prefix, part in (("backbone", backbone), ("decoder", decoder)):
        width, inner = part.hidden_size, part.intermediate_size
        for i in range(part.layers):
            layer = f"{prefix}.layers.{i}"
            shapes[f"{layer}.attn.q_proj.weight"] = (part.heads * part.head_dim, width)
            shapes[f"{layer}.attn.k_proj.weight"] = (part.kv_heads * part.head_dim, width)
            shapes[f"{layer}.attn.v_proj.weight"] = (part.kv_heads * part.head_dim, width)
            shapes[f"{layer}.attn.output_proj.weight"] = (width, part.heads * part.head_dim)
            shapes[f"{layer}.mlp.w1.weight"] = (inner, width)
            shapes[f"{layer}.mlp.w2.weight"] = (width, inner)
            shapes[f"{layer}.mlp.w3.weight"] = (inner, width)
            shapes[f"{layer}.sa_norm.scale"] = (width,)
            shapes[f"{layer}.mlp_norm.scale"] = (width,)
        shapes[f"{prefix}.norm.scale"] = (width,)
    return shapes


def random_weights(config: CSMConfig, seed: int = 0) -> dict[str, Tensor]:
    """Weights under Sesame's names."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / math.sqrt(shape[-1])
        if len(shape) > 1
        else 0.5 + torch.rand(shape, generator=generator)
        for name, shape in sesame_shapes(config).items()
    }


def csm_config(model: CsmForConditionalGeneration) -> CSMConfig:
    """Our config of a tiny model."""
    return CSMConfig.from_transformers(model.config.to_dict())


def save_sesame(folder: Path, shape: dict[str, Any]) -> tuple[CSMConfig, dict[str, Tensor]]:
    """Writes a tiny checkpoint as Sesame does: its weights, kyutai's codec, Llama's tokenizer.

    Returns:
        What `load_checkpoint` needs as `config`, since no flavour is so small; and the weights.
    """
    model: Any = tiny_csm(**shape)
    config = csm_config(model)
    weights = random_weights(config)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    save_file(kyutai_mimi(mimi_tensors(model, folder / "exported"), config), folder / MIMI_FILE)
    tiny_tokenizer(model.config).save(str(folder / "tokenizer.json"))
    flavors = {"backbone_flavor": "llama-1B", "decoder_flavor": "llama-100M"}
    (folder / "config.json").write_text(json.dumps(flavors))
    return config, weights


def mimi_tensors(model: CsmForConditionalGeneration, folder: Path) -> dict[str, Tensor]:
    """The codec's tensors under the names that transformers writes into files."""
    tensors = load_file(save_tiny(model, folder) / "model.safetensors")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    prefix = "codec_model."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def kyutai_mimi(codec: dict[str, Tensor], config: CSMConfig) -> dict[str, Tensor]:
    """The codec's tensors as kyutai's file has them."""
    mimi = config.codec
    file: dict[str, Tensor] = {}

    def conv(theirs: str, ours: str, kind: str = "conv") -> None:
        for leaf in ("weight", "bias"):
            if f"{ours}.conv.{leaf}" in codec:
                file[f"{theirs}.{kind}.{kind}.{leaf}"] = codec[f"{ours}.conv.{leaf}"]

    def residual(coder: str, i: int) -> None:
        for j in (1, 3):
            conv(f"{coder}.model.{i}.block.{j}", f"{coder}.layers.{i}.block.{j}")

    ratios = len(mimi.upsampling_ratios)
    conv("encoder.model.0", "encoder.layers.0")
    conv("decoder.model.0", "decoder.layers.0")
    for stage in range(ratios):
        residual("encoder", 3 * stage + 1)
        conv(f"encoder.model.{3 * stage + 3}", f"encoder.layers.{3 * stage + 3}")
        conv(f"decoder.model.{3 * stage + 2}", f"decoder.layers.{3 * stage + 2}", "convtr")
        residual("decoder", 3 * stage + 3)
    conv(f"encoder.model.{3 * ratios + 2}", f"encoder.layers.{3 * ratios + 2}")
    conv(f"decoder.model.{3 * ratios + 2}", f"decoder.layers.{3 * ratios + 2}")
    conv("downsample.conv", "downsample")
    conv("upsample.convtr", "upsample", "convtr")
    for coder in ("encoder_transformer", "decoder_transformer"):
        for i in range(mimi.num_hidden_layers):
            theirs, ours = f"{coder}.transformer.layers.{i}", f"{coder}.layers.{i}"
            q, k, v = (codec[f"{ours}.self_attn.{x}_proj.weight"] for x in "qkv")
            q = interleave(q, mimi.num_attention_heads)
            k = interleave(k, mimi.num_key_value_heads)
            file[f"{theirs}.self_attn.in_proj_weight"] = torch.cat((q, k, v))
            file[f"{theirs}.self_attn.out_proj.weight"] = codec[f"{ours}.self_attn.o_proj.weight"]
            file[f"{theirs}.linear1.weight"] = codec[f"{ours}.mlp.fc1.weight"]
            file[f"{theirs}.linear2.weight"] = codec[f"{ours}.mlp.fc2.weight"]
            file[f"{theirs}.layer_scale_1.scale"] = codec[f"{ours}.self_attn_layer_scale.scale"]
            file[f"{theirs}.layer_scale_2.scale"] = codec[f"{ours}.mlp_layer_scale.scale"]
            for leaf in ("weight", "bias"):
                norm = codec[f"{ours}.input_layernorm.{leaf}"]
                file[f"{theirs}.norm1.{leaf}"] = norm
                norm = codec[f"{ours}.post_attention_layernorm.{leaf}"]
                file[f"{theirs}.norm2.{leaf}"] = norm
    semantic = mimi.num_semantic_quantizers
    for theirs, ours, count in (
        ("rvq_first", "semantic", semantic),
        ("rvq_rest", "acoustic", mimi.num_quantizers - semantic),
    ):
        for side in ("input_proj", "output_proj"):
            name = f"quantizer.{ours}_residual_vector_quantizer.{side}.weight"
            file[f"quantizer.{theirs}.{side}.weight"] = codec[name]
        for i in range(count):
            book = f"quantizer.{ours}_residual_vector_quantizer.layers.{i}.codebook"
            other = f"quantizer.{theirs}.vq.layers.{i}._codebook"
            file[f"{other}.embedding_sum"] = codec[f"{book}.embed_sum"]
            file[f"{other}.cluster_usage"] = codec[f"{book}.cluster_usage"]
            file[f"{other}._initialized"] = torch.ones(1)
    return {name: tensor.contiguous().clone() for name, tensor in file.items()}


def interleave(rows: Tensor, heads: int) -> Tensor:
    """Rows in half-rotation order to the order in which neighbours turn, by bare indices."""
    size = rows.shape[0] // heads
    order = [
        head * size + half * (size // 2) + pair
        for head in range(heads)
        for pair in range(size // 2)
        for half in range(2)
    ]
    return rows[order]


def turn_neighbours(x: Tensor, config: TransformerConfig) -> Tensor:
    """torchtune's Llama 3 rotary embedding of x [time, heads, head_dim], in complex numbers."""
    rope = config.rope
    assert rope.factor is not None
    frequencies = []
    for pair in range(config.head_dim // 2):
        frequency = rope.theta ** (-2 * pair / config.head_dim)
        waves = rope.original_max_positions * frequency / (2 * math.pi)  # in the old context
        if waves < rope.low_freq_factor:
            frequency /= rope.factor
        elif waves <= rope.high_freq_factor:
            span = rope.high_freq_factor - rope.low_freq_factor
            smooth = (waves - rope.low_freq_factor) / span
            frequency *= (1 - smooth) / rope.factor + smooth
        frequencies.append(frequency)
    angles = torch.arange(x.shape[0])[:, None] * torch.tensor(frequencies, dtype=torch.float64)
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]
    pairs = torch.view_as_complex(x.double().reshape(*x.shape[:2], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(2)


def scores_of(x: Tensor, layer: str, weights: dict[str, Tensor], part: TransformerConfig) -> Tensor:
    """Attention scores [heads, time, time] of x [time, hidden] in float64, before the mask."""
    q = x.double() @ weights[f"{layer}.attn.q_proj.weight"].double().T
    k = x.double() @ weights[f"{layer}.attn.k_proj.weight"].double().T
    q = turn_neighbours(q.view(-1, part.heads, part.head_dim), part)
    k = turn_neighbours(k.view(-1, part.kv_heads, part.head_dim), part)
    k = k.repeat_interleave(part.heads // part.kv_heads, dim=1)
    return torch.einsum("qhd,khd->hqk", q, k)


def run_sesame(
    x: Tensor, prefix: str, weights: dict[str, Tensor], part: TransformerConfig
) -> Tensor:
    """A whole backbone or decoder as torchtune runs it: x [time, hidden] to the same, float64."""
    w = {name: tensor.double() for name, tensor in weights.items()}

    def norm(x: Tensor, scale: str) -> Tensor:
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + part.norm_eps) * w[scale]

    x = x.double()
    future = torch.ones(x.shape[0], x.shape[0], dtype=torch.bool).triu(1)
    for i in range(part.layers):
        layer = f"{prefix}.layers.{i}"
        y = norm(x, f"{layer}.sa_norm.scale")
        scores = scores_of(y, layer, weights, part) / math.sqrt(part.head_dim)
        attention = scores.masked_fill(future, -math.inf).softmax(-1)
        v = (y @ w[f"{layer}.attn.v_proj.weight"].T).view(-1, part.kv_heads, part.head_dim)
        v = v.repeat_interleave(part.heads // part.kv_heads, dim=1)
        y = torch.einsum("hqk,khd->qhd", attention, v).flatten(1)
        x = x + y @ w[f"{layer}.attn.output_proj.weight"].T
        y = norm(x, f"{layer}.mlp_norm.scale")
        gate = torch.nn.functional.silu(y @ w[f"{layer}.mlp.w1.weight"].T)
        x = x + (gate * (y @ w[f"{layer}.mlp.w3.weight"].T)) @ w[f"{layer}.mlp.w2.weight"].T
    return norm(x, f"{prefix}.norm.scale")
