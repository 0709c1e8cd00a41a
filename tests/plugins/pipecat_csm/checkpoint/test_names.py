"""Every name and shape of CSM-1B itself, on the meta device, against what the tables say."""

import re
from math import prod
from typing import Any

import pytest
import torch
from pipecat_csm.model.checkpoint import kyutai_mimi, sesame_format, transformers_format
from pipecat_csm.model.checkpoint.table import Piece, Shape
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.csm import CSMModel
from transformers import CsmConfig, CsmForConditionalGeneration

from tests.plugins.pipecat_csm.checkpoint.sesame import kyutai_mimi as kyutai_file
from tests.plugins.pipecat_csm.checkpoint.sesame import mimi_tensors, sesame_shapes
from tests.plugins.pipecat_csm.tiny import tiny_csm

TRUE = CSMConfig.csm_1b()
AUDIO_TABLE = "backbone_model.embed_tokens.embed_audio_tokens.weight"
AUDIO_TABLE_COPY = "depth_decoder.model.embed_tokens.weight"


def name_in_file(name: str) -> str:
    """A module's name to that in a file: transformers moved the codec's modules, not the files."""
    name = re.sub(r"codec_model\.(en|de)coder\.\1coder_seanet\.", r"codec_model.\1coder.", name)
    return re.sub(
        r"codec_model\.(?:en|de)coder\.((?:en|de)coder_transformer|downsample|upsample)\.",
        r"codec_model.\1.",
        name,
    )


@pytest.fixture(scope="module")
def exported() -> dict[str, Shape]:
    """What transformers exports of CSM-1B: all names and shapes, and no memory."""
    with torch.device("meta"):
        model: Any = CsmForConditionalGeneration(CsmConfig())
    return {name_in_file(n): tuple(t.shape) for n, t in model.state_dict().items()}


@pytest.fixture(scope="module")
def parameters() -> dict[str, Shape]:
    """Our model's parameters at the true shape."""
    with torch.device("meta"):
        model = CSMModel(TRUE)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def assert_each_row_is_filled_once(pieces: list[Piece], parameters: dict[str, Shape]) -> None:
    filled = {name: torch.zeros(shape[0], dtype=torch.int) for name, shape in parameters.items()}
    for piece in pieces:
        assert piece.shape[1:] == parameters[piece.parameter][1:], piece
        rows = filled[piece.parameter][piece.row : piece.row + piece.row_count]
        assert len(rows) == piece.row_count, piece
        rows += 1
    assert all(rows.eq(1).all() for rows in filled.values())


def test_the_538_names_of_transformers_export(exported, parameters):
    assert len(exported) == 538
    table = transformers_format.pieces(TRUE, parameters, exported)
    wanted = {piece.source: piece.shape for piece in table}
    read = {n: s for n, s in exported.items() if n in wanted}
    assert read == wanted
    unread = exported.keys() - wanted.keys()
    assert {n for n in unread if not n.endswith(".initialized")} == {AUDIO_TABLE_COPY}
    assert len(unread) == 1 + 32
    assert all(transformers_format.is_extra(name) for name in unread)
    assert_each_row_is_filled_once(table, parameters)


def test_the_audio_table_is_found_under_either_of_its_names(exported, parameters):
    """transformers 4 writes both names; 5.23 only the depth decoder's."""
    for gone, there in [(AUDIO_TABLE, AUDIO_TABLE_COPY), (AUDIO_TABLE_COPY, AUDIO_TABLE)]:
        table = transformers_format.pieces(TRUE, parameters, exported.keys() - {gone})
        (piece,) = (p for p in table if p.parameter == "audio_embeddings.weight")
        assert (piece.source, piece.shape) == (there, exported[there])


def test_what_transformers_writes_today_has_these_names(tmp_path):
    model: Any = tiny_csm()
    written = {f"codec_model.{name}" for name in mimi_tensors(model, tmp_path / "exported")}
    modules = {name_in_file(name) for name in model.state_dict()}
    assert written == {name for name in modules if name.startswith("codec_model.")}


def test_the_187_names_of_sesames_file(parameters):
    file = sesame_shapes(TRUE)
    assert len(file) == 187
    assert sum(prod(shape) for shape in file.values()) == 1_552_791_552
    table = sesame_format.pieces(TRUE)
    assert {piece.source: piece.shape for piece in table} == file
    without_codec = {n: s for n, s in parameters.items() if not n.startswith("mimi.")}
    assert_each_row_is_filled_once(table, without_codec)


def test_kyutais_names(exported, parameters):
    codec = {
        name.removeprefix("codec_model."): torch.empty(shape, device="meta")
        for name, shape in exported.items()
        if name.startswith("codec_model.")
    }
    with torch.device("meta"):
        file = {name: tuple(tensor.shape) for name, tensor in kyutai_file(codec, TRUE).items()}
    table = kyutai_mimi.pieces(TRUE.codec, parameters)
    wanted = {piece.source: piece.shape for piece in table}
    assert {n: s for n, s in file.items() if n in wanted} == wanted
    assert {n for n in file if n not in wanted} == {n for n in file if kyutai_mimi.is_extra(n)}
    codec_only = {n: s for n, s in parameters.items() if n.startswith("mimi.")}
    assert_each_row_is_filled_once(table, codec_only)
    for name in [
        "encoder.model.1.block.3.conv.conv.bias",
        "encoder.model.14.conv.conv.weight",
        "decoder.model.0.conv.conv.weight",
        "decoder.model.11.convtr.convtr.weight",
        "decoder.model.12.block.1.conv.conv.weight",
        "decoder.model.14.conv.conv.weight",
        "downsample.conv.conv.conv.weight",
        "upsample.convtr.convtr.convtr.weight",
        "encoder_transformer.transformer.layers.7.self_attn.in_proj_weight",
        "decoder_transformer.transformer.layers.0.norm1.bias",
        "decoder_transformer.transformer.layers.0.layer_scale_2.scale",
        "quantizer.rvq_first.input_proj.weight",
        "quantizer.rvq_first.vq.layers.0._codebook.embedding_sum",
        "quantizer.rvq_rest.vq.layers.30._codebook.cluster_usage",
    ]:
        assert name in wanted
