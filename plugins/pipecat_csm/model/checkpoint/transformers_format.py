"""The names in what transformers' `CsmForConditionalGeneration.save_pretrained` writes.

They are the file's names, which have stayed while the modules' attributes moved (5.17 to 5.23).
"""

from collections.abc import Collection, Mapping

from pipecat_csm.model.checkpoint.table import (
    Naming,
    Piece,
    Shape,
    codec_shapes,
    transformer_pieces,
)
from pipecat_csm.model.config import CSMConfig

_NAMING = Naming(
    q="self_attn.q_proj.weight",
    k="self_attn.k_proj.weight",
    v="self_attn.v_proj.weight",
    out="self_attn.o_proj.weight",
    gate="mlp.gate_proj.weight",
    up="mlp.up_proj.weight",
    down="mlp.down_proj.weight",
    attention_norm="input_layernorm.weight",
    mlp_norm="post_attention_layernorm.weight",
    norm="norm.weight",
    interleaved=False,
)
_AUDIO_TABLE = "backbone_model.embed_tokens.embed_audio_tokens.weight"
_AUDIO_TABLE_COPY = "depth_decoder.model.embed_tokens.weight"


def is_transformers(names: Collection[str]) -> bool:
    """Whether the names of a file's tensors are of this format."""
    return any(name.startswith(("backbone_model.", "depth_decoder.")) for name in names)


def is_extra(name: str) -> bool:
    """Whether a tensor may be there without being read: a tied copy, or a codebook's flag."""
    return name in {_AUDIO_TABLE, _AUDIO_TABLE_COPY} or name.endswith(".codebook.initialized")


def pieces(
    config: CSMConfig, parameters: Mapping[str, Shape], names: Collection[str]
) -> list[Piece]:
    """The table of this format.

    Args:
        parameters: The model's parameters; only the codec's are looked at, whose names are those
            of the file.
        names: Of the tensors there are: the audio table is tied to the depth decoder's, and a
            file may hold either name or both.
    """
    width, depth_width = config.backbone.hidden_size, config.depth.hidden_size
    vocab = config.audio_vocab_size
    audio = _AUDIO_TABLE
    if _AUDIO_TABLE not in names and _AUDIO_TABLE_COPY in names:
        audio = _AUDIO_TABLE_COPY
    return [
        Piece(
            "embed_text_tokens.weight", (config.text_vocab_size, width), "text_embeddings.weight"
        ),
        Piece(audio, (config.codebooks * vocab, width), "audio_embeddings.weight"),
        Piece("lm_head.weight", (vocab, width), "codebook0_head.weight"),
        Piece(
            "depth_decoder.codebooks_head.weight",
            (config.codebooks - 1, depth_width, vocab),
            "depth_heads.weight",
        ),
        Piece(
            "depth_decoder.model.inputs_embeds_projector.weight",
            (depth_width, width),
            "projection.weight",
        ),
        *transformer_pieces(config.backbone, _NAMING, ours="backbone.", theirs="backbone_model."),
        *transformer_pieces(config.depth, _NAMING, ours="depth.", theirs="depth_decoder.model."),
        *codec_pieces(parameters, prefix="codec_model."),
    ]


def codec_pieces(parameters: Mapping[str, Shape], prefix: str = "") -> list[Piece]:
    """The codec's part, which transformers' `MimiModel.save_pretrained` writes without prefix."""
    return [
        Piece(prefix + name, shape, f"mimi.{name}")
        for name, shape in codec_shapes(parameters).items()
    ]
