"""The dimensions of a CSM checkpoint, and of Sesame's CSM-1B."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipecat_csm.errors import CheckpointError

FRAME_HZ = 12.5
SAMPLE_RATE_HZ = 24_000


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding; with Llama 3's scaling of low frequencies if `factor` is set."""

    theta: float
    factor: float | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192


@dataclass(frozen=True)
class TransformerConfig:
    """A Llama-style transformer: RMSNorm, grouped-query attention, SwiGLU, no biases."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    max_positions: int
    rope: RopeConfig


@dataclass(frozen=True)
class MimiConfig:
    """The Mimi codec, in the names of transformers' `MimiConfig`, of which it is the part used."""

    hidden_size: int = 512
    num_filters: int = 64
    num_residual_layers: int = 1
    upsampling_ratios: tuple[int, ...] = (8, 6, 5, 4)
    kernel_size: int = 7
    last_kernel_size: int = 3
    residual_kernel_size: int = 3
    dilation_growth_rate: int = 2
    compress: int = 2
    codebook_size: int = 2048
    codebook_dim: int = 256
    num_quantizers: int = 32
    num_semantic_quantizers: int = 1
    vector_quantization_hidden_dimension: int = 256
    upsample_groups: int = 512
    num_hidden_layers: int = 8
    intermediate_size: int = 2048
    num_attention_heads: int = 8
    num_key_value_heads: int = 8
    head_dim: int = 64
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    sliding_window: int = 250
    use_conv_shortcut: bool = False

    @property
    def frame_samples(self) -> int:
        """Samples of 24 kHz audio per frame: 1,920 in CSM-1B."""
        return 2 * math.prod(self.upsampling_ratios)


@dataclass(frozen=True)
class CSMConfig:
    """Everything that the code needs to know of a checkpoint's shape.

    Attributes:
        codebooks: Codes per frame.
        audio_vocab_size: Rows of each codebook's embedding, special ids among them; what is
            sampled is below `codec.codebook_size`.
    """

    backbone: TransformerConfig
    depth: TransformerConfig
    codec: MimiConfig
    codebooks: int
    audio_vocab_size: int
    text_vocab_size: int
    bos_id: int
    eot_id: int
    audio_id: int
    audio_eos_id: int

    @classmethod
    def csm_1b(cls) -> "CSMConfig":
        """Sesame's CSM-1B (SesameAILabs/csm, `models.py`)."""
        rope = RopeConfig(500_000.0, 32.0, 1.0, 4.0, 8192)
        return cls(
            backbone=TransformerConfig(2048, 8192, 16, 32, 8, 64, 1e-5, 2048, rope),
            depth=TransformerConfig(1024, 8192, 4, 8, 2, 128, 1e-5, 33, rope),
            codec=MimiConfig(),
            codebooks=32,
            audio_vocab_size=2051,
            text_vocab_size=128_256,
            bos_id=128_000,
            eot_id=128_001,
            audio_id=128_002,
            audio_eos_id=128_003,
        )

    @classmethod
    def from_transformers(cls, data: Mapping[str, Any]) -> "CSMConfig":
        """Reads the `config.json` that `CsmForConditionalGeneration.save_pretrained` writes.

        Raises:
            CheckpointError: It is not CSM's, lacks something, or asks for what is not supported.
        """
        if data.get("model_type") != "csm":
            raise CheckpointError(
                f"The checkpoint's config.json is of a {data.get('model_type', 'nameless')!r} "
                "model, not of 'csm'."
            )
        try:
            return cls(
                backbone=_transformer(data),
                depth=_transformer(data["depth_decoder_config"]),
                codec=_mimi(data["codec_config"]),
                codebooks=data["num_codebooks"],
                audio_vocab_size=data["vocab_size"],
                text_vocab_size=data["text_vocab_size"],
                bos_id=data["bos_token_id"],
                eot_id=data.get("eot_token_id", data["bos_token_id"] + 1),
                audio_id=data["audio_token_id"],
                audio_eos_id=data["audio_eos_token_id"],
            )
        except KeyError as error:
            raise CheckpointError(f"The checkpoint's config.json lacks {error}.") from None


def _transformer(data: Mapping[str, Any]) -> TransformerConfig:
    for key in ("attention_bias", "mlp_bias"):
        if data.get(key):
            raise CheckpointError(f"The checkpoint's config.json sets {key}, which CSM has not.")
    heads = data["num_attention_heads"]
    return TransformerConfig(
        hidden_size=data["hidden_size"],
        intermediate_size=data["intermediate_size"],
        layers=data["num_hidden_layers"],
        heads=heads,
        kv_heads=data.get("num_key_value_heads") or heads,
        head_dim=data.get("head_dim") or data["hidden_size"] // heads,
        norm_eps=data["rms_norm_eps"],
        max_positions=data["max_position_embeddings"],
        rope=_rope(data),
    )


def _rope(data: Mapping[str, Any]) -> RopeConfig:
    # transformers 5 writes everything into rope_parameters; 4 split it into theta and scaling.
    found = data.get("rope_parameters") or data.get("rope_scaling") or {}
    theta = float(found.get("rope_theta") or data.get("rope_theta") or 500_000.0)
    kind = found.get("rope_type", "default")
    if kind == "default":
        return RopeConfig(theta)
    if kind != "llama3":
        raise CheckpointError(f"RoPE of type {kind!r} is not supported; CSM has 'llama3'.")
    return RopeConfig(
        theta,
        float(found["factor"]),
        float(found["low_freq_factor"]),
        float(found["high_freq_factor"]),
        found["original_max_position_embeddings"],
    )


def _mimi(data: Mapping[str, Any]) -> MimiConfig:
    required = {
        "use_causal_conv": True,
        "audio_channels": 1,
        "sampling_rate": SAMPLE_RATE_HZ,
        "pad_mode": "constant",
        "trim_right_ratio": 1.0,
        "attention_bias": False,
        "hidden_act": "gelu",
    }
    for key, wanted in required.items():
        if data.get(key, wanted) != wanted:
            raise CheckpointError(
                f"The codec's {key} is {data[key]!r}; only {wanted!r} is supported."
            )
    names = set(MimiConfig.__dataclass_fields__) - {"rope_theta", "head_dim", "upsampling_ratios"}
    known = {name: data[name] for name in names if data.get(name) is not None}
    heads = known.get("num_attention_heads", 8)
    rope = data.get("rope_parameters") or {}
    return MimiConfig(
        **known,
        upsampling_ratios=tuple(data.get("upsampling_ratios") or (8, 6, 5, 4)),
        head_dim=data.get("head_dim") or known.get("hidden_size", 512) // heads,
        rope_theta=float(rope.get("rope_theta") or data.get("rope_theta") or 10_000.0),
    )
