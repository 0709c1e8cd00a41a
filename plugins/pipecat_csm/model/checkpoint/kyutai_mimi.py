"""The names in kyutai's own file of Mimi, `tokenizer-e351c8d8-checkpoint125.safetensors`.

The modules are those of kyutai-labs/moshi, `moshi/modules`; ours are called as in transformers.
"""

import re
from collections.abc import Collection, Mapping

from pipecat_csm.model.checkpoint.table import Piece, Shape, codec_shapes
from pipecat_csm.model.config import MimiConfig

_RENAMED = [
    (re.compile(r"^(en|de)coder\.layers\."), r"\1coder.model."),
    (
        re.compile(r"^(en|de)coder_transformer\.layers\."),
        r"\1coder_transformer.transformer.layers.",
    ),
    (re.compile(r"\.self_attn\.o_proj\."), ".self_attn.out_proj."),
    (re.compile(r"\.input_layernorm\."), ".norm1."),
    (re.compile(r"\.post_attention_layernorm\."), ".norm2."),
    (re.compile(r"\.mlp\.fc([12])\."), r".linear\1."),
    (re.compile(r"\.self_attn_layer_scale\."), ".layer_scale_1."),
    (re.compile(r"\.mlp_layer_scale\."), ".layer_scale_2."),
    (re.compile(r"\.semantic_residual_vector_quantizer\.layers\."), ".rvq_first.vq.layers."),
    (re.compile(r"\.acoustic_residual_vector_quantizer\.layers\."), ".rvq_rest.vq.layers."),
    (re.compile(r"\.semantic_residual_vector_quantizer\."), ".rvq_first."),
    (re.compile(r"\.acoustic_residual_vector_quantizer\."), ".rvq_rest."),
    (re.compile(r"\.codebook\.embed_sum$"), "._codebook.embedding_sum"),
    (re.compile(r"\.codebook\.cluster_usage$"), "._codebook.cluster_usage"),
    (re.compile(r"^upsample\.conv\."), "upsample.convtr.convtr.convtr."),
    (re.compile(r"^downsample\.conv\."), "downsample.conv.conv.conv."),
    (re.compile(r"^((?:en|de)coder\..*)\.conv\."), r"\1.conv.conv."),
]
_TRANSPOSED = re.compile(r"^(decoder\.model\.\d+)\.conv\.conv\.")
_PROJECTION = re.compile(r"^(.*\.self_attn)\.([qkv])_proj\.weight$")


def is_kyutai_mimi(names: Collection[str]) -> bool:
    """Whether the names of a file's tensors are of this format."""
    return any(name.startswith("encoder_transformer.transformer.") for name in names)


def is_extra(name: str) -> bool:
    """Whether a tensor may be there without being read: a codebook's flag."""
    return name.endswith("._codebook._initialized")


def pieces(config: MimiConfig, parameters: Mapping[str, Shape]) -> list[Piece]:
    """The table of this format.

    Args:
        parameters: The model's parameters; only the codec's are looked at.
    """
    shapes = codec_shapes(parameters)
    # The decoder's outermost convolutions are the first and the last; between them all transpose.
    blocks = [int(name.split(".")[2]) for name in shapes if name.startswith("decoder.layers.")]
    outermost = {f"decoder.model.{i}" for i in (0, max(blocks, default=0))}
    return [_piece(config, name, shape, outermost) for name, shape in shapes.items()]


def _piece(config: MimiConfig, name: str, shape: Shape, outermost: set[str]) -> Piece:
    parameter = f"mimi.{name}"
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    transposed = _TRANSPOSED.match(name)
    if transposed and transposed[1] not in outermost:
        name = _TRANSPOSED.sub(r"\1.convtr.convtr.", name)
    projection = _PROJECTION.match(name)
    if not projection:
        return Piece(name, shape, parameter)
    # Queries, keys and values lie in one tensor; kyutai's rotary embedding turns neighbours.
    q_rows = config.num_attention_heads * config.head_dim
    kv_rows = config.num_key_value_heads * config.head_dim
    first, heads = {
        "q": (0, config.num_attention_heads),
        "k": (q_rows, config.num_key_value_heads),
        "v": (q_rows + kv_rows, None),
    }[projection[2]]
    return Piece(
        f"{projection[1]}.in_proj_weight",
        (q_rows + 2 * kv_rows, shape[1]),
        parameter,
        source_row=first,
        rows=shape[0],
        interleaved_heads=heads,
    )
