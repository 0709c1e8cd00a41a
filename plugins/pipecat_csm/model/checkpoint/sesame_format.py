"""The names in Sesame's own `model.safetensors` (SesameAILabs/csm, `models.py`; torchtune's)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint.table import Naming, Piece, Shape, transformer_pieces
from pipecat_csm.model.config import CSMConfig, TransformerConfig

_NAMING = Naming(
    q="attn.q_proj.weight",
    k="attn.k_proj.weight",
    v="attn.v_proj.weight",
    out="attn.output_proj.weight",
    gate="mlp.w1.weight",
    up="mlp.w3.weight",
    down="mlp.w2.weight",
    attention_norm="sa_norm.scale",
    mlp_norm="mlp_norm.scale",
    norm="norm.scale",
    interleaved=True,
)
_CSM_1B = CSMConfig.csm_1b()
# How many heads a layer has is not in the shapes of its weights: only a flavour's name says it.
_FLAVORS = {"llama-1B": _CSM_1B.backbone, "llama-100M": _CSM_1B.depth}


def is_sesame(names: Collection[str]) -> bool:
    """Whether the names of a file's tensors are of this format."""
    return "audio_head" in names or "codebook0_head.weight" in names


def pieces(config: CSMConfig) -> list[Piece]:
    """The table of this format, without the codec, which is in a file of its own."""
    width, depth_width = config.backbone.hidden_size, config.depth.hidden_size
    text, audio, books = config.text_vocab_size, config.audio_vocab_size, config.codebooks
    return [
        Piece("text_embeddings.weight", (text, width), "text_embeddings.weight"),
        Piece("audio_embeddings.weight", (books * audio, width), "audio_embeddings.weight"),
        Piece("codebook0_head.weight", (audio, width), "codebook0_head.weight"),
        Piece("audio_head", (books - 1, depth_width, audio), "depth_heads.weight"),
        Piece("projection.weight", (depth_width, width), "projection.weight"),
        *transformer_pieces(config.backbone, _NAMING, ours="backbone.", theirs="backbone."),
        *transformer_pieces(config.depth, _NAMING, ours="depth.", theirs="decoder."),
    ]


def config_of(data: Mapping[str, Any], shapes: Mapping[str, Shape]) -> CSMConfig:
    """The dimensions: from Sesame's config.json where it has them, otherwise from the shapes.

    Args:
        data: The config.json; empty if there is none.
        shapes: Of the tensors.

    Raises:
        CheckpointError: The flavour is unknown.
    """
    shape = shapes.get
    audio_vocab = data.get("audio_vocab_size") or _first(shape("codebook0_head.weight"), 2051)
    heads = _first(shape("audio_head"), 31)
    codebooks = data.get("audio_num_codebooks") or heads + 1
    backbone = _flavor(data.get("backbone_flavor"), shape("backbone.norm.scale"))
    depth = _flavor(data.get("decoder_flavor"), shape("decoder.norm.scale"))
    return replace(
        _CSM_1B,
        backbone=backbone,
        depth=replace(depth, max_positions=codebooks + 1),
        codebooks=codebooks,
        audio_vocab_size=audio_vocab,
        text_vocab_size=data.get("text_vocab_size")
        or _first(shape("text_embeddings.weight"), _CSM_1B.text_vocab_size),
    )


def _first(shape: Shape | None, otherwise: int) -> int:
    return shape[0] if shape else otherwise


def _flavor(name: str | None, norm: Shape | None) -> TransformerConfig:
    if name is None:
        width = norm[0] if norm else 0
        name = next((n for n, f in _FLAVORS.items() if f.hidden_size == width), f"width {width}")
    if name not in _FLAVORS:
        raise CheckpointError(
            f"The checkpoint is of the unknown flavour {name!r}; known are {', '.join(_FLAVORS)}."
        )
    return _FLAVORS[name]
