"""Sesame's format, compared with what torchtune computes from the very same file."""

import json
from typing import Any

import pytest
import torch
from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint import load_checkpoint, sesame_format
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.transformer import KVCache
from safetensors.torch import save_file

from tests.plugins.pipecat_csm.checkpoint.sesame import (
    MIMI_FILE,
    mimi_tensors,
    run_sesame,
    save_sesame,
    scores_of,
    sesame_shapes,
)
from tests.plugins.pipecat_csm.tiny import SHAPES, save_tiny, tiny_csm

shapes = pytest.mark.parametrize("shape", [SHAPES["small"], SHAPES["odd"]], ids=["small", "odd"])
TIME = 5  # what fits the depth decoder


def parts_of(model: Any) -> list[tuple[str, Any]]:
    return [("backbone", model.backbone), ("decoder", model.depth)]


@shapes
@torch.no_grad()
def test_attention_scores_are_those_of_neighbours_that_turn(tmp_path, shape):
    config, weights = save_sesame(tmp_path, shape)
    model = load_checkpoint(tmp_path, dtype=torch.float64, config=config).model
    for prefix, part in parts_of(model):
        x = torch.randn(TIME, part.config.hidden_size, dtype=torch.float64)
        for index, layer in enumerate(part.layers):
            q, k, _ = layer.attention.project(x[None], part.cos[:TIME], part.sin[:TIME])
            q, k = q.transpose(1, 2), k.transpose(1, 2)
            k = k.repeat_interleave(part.config.heads // part.config.kv_heads, dim=1)
            wanted = scores_of(x, f"{prefix}.layers.{index}", weights, part.config)
            torch.testing.assert_close((q @ k.mT)[0], wanted, rtol=1e-5, atol=1e-6)


@shapes
@torch.no_grad()
def test_backbone_and_decoder_compute_what_torchtune_does(tmp_path, shape):
    config, weights = save_sesame(tmp_path, shape)
    model = load_checkpoint(tmp_path, dtype=torch.float64, config=config).model
    for prefix, part in parts_of(model):
        time = min(part.config.max_positions, 200)
        x = torch.randn(time, part.config.hidden_size, dtype=torch.float64)
        cache = KVCache.empty(part.config, 1, time, "cpu", torch.float64)
        positions = torch.arange(time)[None]
        keep = torch.ones_like(positions, dtype=torch.bool)
        ours = part.over_slots(x[None], cache, positions, keep, time)[0]
        torch.testing.assert_close(
            ours, run_sesame(x, prefix, weights, part.config), rtol=1e-4, atol=1e-5
        )


def test_tables_and_heads_are_taken_as_they_are(tmp_path):
    config, weights = save_sesame(tmp_path, SHAPES["odd"])
    model = load_checkpoint(tmp_path, config=config).model
    for ours, theirs in [
        (model.text_embeddings.weight, "text_embeddings.weight"),
        (model.audio_embeddings.weight, "audio_embeddings.weight"),
        (model.projection.weight, "projection.weight"),
        (model.codebook0_head.weight, "codebook0_head.weight"),
        (model.depth_heads.weight, "audio_head"),
    ]:
        assert torch.equal(ours, weights[theirs])


@shapes
def test_kyutais_codec_becomes_the_same_as_transformers(tmp_path, shape):
    config, _ = save_sesame(tmp_path / "sesame", shape)
    save_tiny(tiny_csm(**shape), tmp_path / "transformers")
    ours = load_checkpoint(tmp_path / "sesame", config=config).model.mimi.state_dict()
    wanted = load_checkpoint(tmp_path / "transformers").model.mimi.state_dict()
    assert ours.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("place", ["mimi.safetensors", "mimi/model.safetensors"])
def test_the_codec_may_lie_beside_it_in_transformers_format(tmp_path, place):
    config, _ = save_sesame(tmp_path, {})
    (tmp_path / MIMI_FILE).unlink()
    codec = mimi_tensors(tiny_csm(), tmp_path / "exported")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    save_file(codec, tmp_path / place)
    model = load_checkpoint(tmp_path, config=config).model
    name = "decoder_transformer.layers.1.self_attn.q_proj.weight"
    assert torch.equal(model.mimi.state_dict()[name], codec[name])


def test_without_codec_it_says_where_to_get_it(tmp_path):
    config, _ = save_sesame(tmp_path, {})
    (tmp_path / MIMI_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"not those of its codec Mimi.*kyutai/mo"):
        load_checkpoint(tmp_path, config=config)


def test_a_codec_that_lacks_a_tensor_is_named(tmp_path):
    config, _ = save_sesame(tmp_path, {})
    (tmp_path / MIMI_FILE).unlink()
    codec = mimi_tensors(tiny_csm(), tmp_path / "exported")
    del codec["upsample.conv.weight"]
    save_file(codec, tmp_path / "mimi.safetensors")
    with pytest.raises(CheckpointError, match=r"1 tensor is missing \(upsample\.conv\.weight\)"):
        load_checkpoint(tmp_path, config=config)


def test_sesames_config_gives_the_dimensions():
    published = {
        "audio_num_codebooks": 32,
        "audio_vocab_size": 2051,
        "backbone_flavor": "llama-1B",
        "decoder_flavor": "llama-100M",
        "text_vocab_size": 128256,
    }
    assert sesame_format.config_of(published, {}) == CSMConfig.csm_1b()


def test_without_config_the_shapes_give_them():
    true = CSMConfig.csm_1b()
    assert sesame_format.config_of({}, sesame_shapes(true)) == true
    finetuned = {**sesame_shapes(true), "text_embeddings.weight": (128264, 2048)}
    assert sesame_format.config_of({}, finetuned).text_vocab_size == 128264


def test_an_unknown_flavour_is_named(tmp_path):
    save_sesame(tmp_path, {})
    (tmp_path / "config.json").write_text(json.dumps({"backbone_flavor": "llama-8B"}))
    with pytest.raises(CheckpointError, match=r"flavour 'llama-8B'.*llama-1B, llama-100M"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="flavour 'width 32'"):
        load_checkpoint(tmp_path)
