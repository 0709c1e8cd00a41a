"""Tiny CSM models with random weights, of the very architecture, for every test of the plugin.

They are transformers' own `CsmForConditionalGeneration`, so each is its own reference. What
transformers would leave at zero or next to it (Mimi's codebooks, its layer scales) and what CSM-1B
sets but the default config does not (RoPE scaling) is filled here: otherwise half of the model
would go untested, whatever was wrong with it.
"""

from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import CsmConfig, CsmForConditionalGeneration

SAMPLE_RATE_HZ = 24_000
BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
AUDIO, AUDIO_EOS = "<|AUDIO|>", "<|audio_eos|>"

# Overrides for `tiny_csm`; every parity test runs on each.
SHAPES: dict[str, dict[str, Any]] = {
    "small": {},
    # Other ratios of heads, none of whose product is the hidden size; more of everything odd.
    "odd": {
        "num_codebooks": 5,
        "vocab_size": 35,
        "text_vocab_size": 283,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "depth_decoder_config": {
            "hidden_size": 20,
            "intermediate_size": 28,
            "num_hidden_layers": 1,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "head_dim": 6,
        },
        "codec_config": {
            "codebook_size": 32,
            "num_filters": 6,
            "hidden_size": 24,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "upsample_groups": 24,
            "upsampling_ratios": [5, 3, 2],
            "num_semantic_quantizers": 2,
        },
    },
    # Generation crosses the codec's attention window (16 positions are 8 frames).
    "window16": {"codec_config": {"sliding_window": 16}},
}


def tiny_config(**overrides: Any) -> CsmConfig:
    """The config of `tiny_csm`; overrides of `depth_decoder_config`, `codec_config` are merged."""
    depth_overrides = overrides.pop("depth_decoder_config", {})
    codec_overrides = overrides.pop("codec_config", {})
    top = {
        "num_codebooks": 4,
        "vocab_size": 19,
        "text_vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        "initializer_range": 0.4,
        "bos_token_id": 256,
        "pad_token_id": 258,
        "audio_token_id": 258,
        "audio_eos_token_id": 259,
        # Numbers that leave some frequencies alone, slow some, and blend one in between.
        "rope_parameters": _llama3(original=256, low=1.0, high=4.0),
        **overrides,
    }
    codebooks, vocab = top["num_codebooks"], top["vocab_size"]
    depth = {
        "num_codebooks": codebooks,
        "backbone_hidden_size": top["hidden_size"],
        "vocab_size": vocab,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": codebooks + 1,
        "initializer_range": 0.4,
        "rope_parameters": _llama3(original=4, low=1 / 64, high=1 / 4),
        **depth_overrides,
    }
    codec = {
        "model_type": "mimi",
        "sampling_rate": SAMPLE_RATE_HZ,
        "num_quantizers": codebooks,
        "codebook_size": vocab - 3,
        "num_filters": 4,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "codebook_dim": 8,
        "vector_quantization_hidden_dimension": 8,
        "upsample_groups": 16,
        "upsampling_ratios": [4, 2, 2, 2],
        "layer_scale_initial_scale": 0.3,
        "initializer_range": 0.3,
        **codec_overrides,
    }
    return CsmConfig(
        codebook_pad_token_id=vocab - 1,
        codebook_eos_token_id=0,
        depth_decoder_config=depth,
        codec_config=codec,
        **top,
    )


def _llama3(*, original: int, low: float, high: float) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


def tiny_csm(
    seed: int = 0, *, dtype: torch.dtype = torch.float32, **overrides: Any
) -> CsmForConditionalGeneration:
    """A tiny CSM in eval mode whose weights are a function of the seed.

    Args:
        dtype: Of all weights, the codec's too; the values are those of float32.
        overrides: Fields of `CsmConfig`, or `**SHAPES["odd"]`.
    """
    config = tiny_config(**overrides)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model: Any = CsmForConditionalGeneration(config).eval()
        _spread_weights(model)
        _fill_codec(model)
    return model.to(dtype)


def _spread_weights(model: CsmForConditionalGeneration) -> None:
    """Logits that are well apart, norms that are not all one, and a tied audio table."""
    for name, parameter in model.named_parameters():
        if name.startswith("codec_model."):
            continue
        if "norm" in name:
            parameter.uniform_(0.5, 1.5)
        elif "head" in name:
            parameter.normal_(std=1.0)
    audio = model.backbone_model.embed_tokens.embed_audio_tokens.weight
    audio.normal_(std=1.0)
    model.depth_decoder.model.embed_tokens.weight = audio


def _fill_codec(model: CsmForConditionalGeneration) -> None:
    """Codebooks on the scale of what is quantised with them, and a loudness of about speech."""
    codec: Any = model.codec_model
    for name, parameter in codec.named_parameters():
        if "layernorm" in name:
            parameter.uniform_(0.5, 1.5)
    inputs: list[torch.Tensor] = []
    sides = [
        codec.quantizer.semantic_residual_vector_quantizer,
        codec.quantizer.acoustic_residual_vector_quantizer,
    ]
    hooks = [
        s.input_proj.register_forward_hook(lambda *args: inputs.append(args[-1])) for s in sides
    ]
    codec.encode(0.1 * torch.randn(1, 1, 6000))
    for side, hook, found in zip(sides, hooks, inputs, strict=True):
        hook.remove()
        mean, spread = found.mean(dim=(0, 2)), found.std(dim=(0, 2))
        for layer in side.layers:
            book = layer.codebook
            book.cluster_usage.uniform_(0.5, 20.0)
            vectors = mean + spread * torch.randn_like(book.embed_sum)
            book.embed_sum.copy_(vectors * book.cluster_usage[:, None])
            # What is left over is around zero, and smaller from book to book.
            mean, spread = torch.zeros_like(mean), spread * 0.7
    _forget_tables(codec)
    codec_config: Any = model.config.codec_config
    codes = torch.randint(codec_config.codebook_size, (1, codec_config.num_quantizers, 50))
    loudness = codec.decode(codes).audio_values.std()
    (last,) = (
        module
        for module in codec.decoder.modules()
        if isinstance(module, torch.nn.Conv1d) and module.out_channels == 1
    )
    for parameter in last.parameters():
        parameter.mul_(0.1 / loudness)
    _forget_tables(codec)


def _forget_tables(codec: Any) -> None:
    """Drops the tables that transformers caches on first use, in the dtype of that moment."""
    for module in codec.modules():
        if hasattr(module, "_embed"):
            module._embed = None


def tiny_tokenizer(config: CsmConfig) -> tokenizers.Tokenizer:
    """Bytes as tokens (the first 256 ids) with two merges, and CSM's special ids.

    As with Llama's, `encode` frames a text in begin and end unless `add_special_tokens=False`.
    """
    bos = config.bos_token_id
    assert bos is not None
    special: dict[str, Any] = {
        BEGIN: bos,
        END: bos + 1,
        AUDIO: config.audio_token_id,
        AUDIO_EOS: config.audio_eos_token_id,
    }
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: i for i, letter in enumerate(letters)} | {"th": 260, "the": 261} | special
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[("t", "h"), ("th", "e")]))
    tokenizer.add_special_tokens([tokenizers.AddedToken(word, special=True) for word in special])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, bos), (END, bos + 1)]
    )
    return tokenizer


def save_tiny(model: CsmForConditionalGeneration, folder: Path | str, *, shards: int = 1) -> Path:
    """Writes a checkpoint as transformers does, with the tokenizer beside it.

    Args:
        shards: At least how many safetensors files (with their index) to split the weights into.
    """
    folder = Path(folder)
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    model.save_pretrained(folder, max_shard_size=2 * size if shards == 1 else size // shards)
    tiny_tokenizer(model.config).save(str(folder / "tokenizer.json"))
    return folder
