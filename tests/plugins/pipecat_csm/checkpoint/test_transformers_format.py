"""transformers' format: any split into files, either name of the tied table, every dtype."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint import load_checkpoint
from safetensors.torch import load_file, save_file

from tests.plugins.pipecat_csm.checkpoint.sesame import csm_config, save_sesame
from tests.plugins.pipecat_csm.tiny import SHAPES, save_tiny, tiny_csm, tiny_tokenizer

AUDIO_TABLE = "backbone_model.embed_tokens.embed_audio_tokens.weight"
AUDIO_TABLE_COPY = "depth_decoder.model.embed_tokens.weight"


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).model.state_dict()


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.fixture
def folder(tmp_path) -> Path:
    """A checkpoint in one file."""
    return save_tiny(tiny_csm(), tmp_path / "whole")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_fused_matrices_hold_their_parts_in_order(tmp_path, shape):
    reference: Any = tiny_csm(**shape)
    checkpoint = load_checkpoint(save_tiny(reference, tmp_path))
    model, config = checkpoint.model, checkpoint.config
    assert config == csm_config(reference)
    for ours, theirs in [
        (model.backbone, reference.backbone_model),
        (model.depth, reference.depth_decoder.model),
    ]:
        for layer, wanted in zip(ours.layers, theirs.layers, strict=True):
            attention: Any = layer.attention
            parts = [getattr(wanted.self_attn, f"{x}_proj").weight for x in "qkv"]
            assert torch.equal(attention.qkv.weight, torch.cat(parts))
            assert torch.equal(attention.out.weight, wanted.self_attn.o_proj.weight)
            mlp: Any = layer.mlp
            parts = [wanted.mlp.gate_proj.weight, wanted.mlp.up_proj.weight]
            assert torch.equal(mlp.gate_up.weight, torch.cat(parts))
            assert torch.equal(mlp.down.weight, wanted.mlp.down_proj.weight)


def test_the_model_is_ready_to_run(folder):
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.source == str(folder)
    assert not checkpoint.model.training
    tensors = [*checkpoint.model.parameters(), *checkpoint.model.buffers()]
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)
    wanted = tiny_tokenizer(tiny_csm().config).encode("the fox").ids
    assert checkpoint.tokenizer.encode("the fox").ids == wanted


def test_many_shards_are_one_model(tmp_path, folder):
    sharded = save_tiny(tiny_csm(), tmp_path / "sharded", shards=3)
    assert len(list(sharded.glob("*.safetensors"))) >= 3
    assert_same(weights_of(sharded), weights_of(folder))
    (sharded / "model.safetensors.index.json").unlink()
    assert_same(weights_of(sharded), weights_of(folder))


@pytest.mark.parametrize("named", [True, False], ids=["named in the config", "by its name"])
def test_transformers_weights_win_over_sesames_beside_them(tmp_path, folder, named):
    """As in sesame/csm-1b: model.safetensors is Sesame's, transformers-*.safetensors the other."""
    save_sesame(tmp_path / "both", {})
    both = save_tiny(tiny_csm(), tmp_path / "both", shards=2)
    save_sesame(tmp_path / "sesame", {})
    index = (both / "model.safetensors.index.json").read_text().replace('"model-', '"transformers-')
    (both / "model.safetensors.index.json").unlink()
    (both / "transformers.safetensors.index.json").write_text(index)
    for path in both.glob("model-*.safetensors"):
        path.rename(both / path.name.replace("model", "transformers"))
    sesame = tmp_path / "sesame" / "model.safetensors"
    (both / "model.safetensors").write_bytes(sesame.read_bytes())
    if named:
        data = json.loads((both / "config.json").read_text())
        data["transformers_weights"] = "transformers.safetensors.index.json"
        (both / "config.json").write_text(json.dumps(data))
    assert_same(weights_of(both), weights_of(folder))


@pytest.mark.parametrize(
    "names", [[AUDIO_TABLE], [AUDIO_TABLE_COPY], [AUDIO_TABLE, AUDIO_TABLE_COPY]]
)
def test_the_audio_table_may_have_either_name_or_both(folder, names):
    wanted = weights_of(folder)
    tensors = load_file(folder / "model.safetensors")
    found = [tensors.pop(n) for n in (AUDIO_TABLE, AUDIO_TABLE_COPY) if n in tensors]
    tensors |= {name: found[0].clone() for name in names}
    save_file(tensors, folder / "model.safetensors")
    assert_same(weights_of(folder), wanted)


@pytest.mark.parametrize(
    ("dtype", "codec_dtype"),
    [
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_the_codec_stays_in_float32_unless_all_is_float64(folder, dtype, codec_dtype):
    model = load_checkpoint(folder, dtype=dtype).model
    for name, tensor in model.state_dict().items():
        wanted = codec_dtype if name.startswith("mimi.") else dtype
        assert tensor.dtype == wanted, name


@pytest.mark.parametrize("stored", [torch.float64, torch.bfloat16, torch.float16])
def test_files_may_be_of_any_float(folder, stored):
    tensors = {n: t.to(stored) for n, t in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    found = load_checkpoint(folder).model.text_embeddings.weight
    assert torch.equal(found, tensors["embed_text_tokens.weight"].float())


def test_progress_ends_at_the_whole(folder):
    told: list[tuple[int, int]] = []
    load_checkpoint(folder, progress=lambda done, total: told.append((done, total)))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {done[-1]}
    assert done[-1] <= (folder / "model.safetensors").stat().st_size


def test_a_given_config_counts_more_than_the_files(folder):
    other = csm_config(tiny_csm(**SHAPES["odd"]))
    with pytest.raises(CheckpointError, match="misshapen"):
        load_checkpoint(folder, config=other)
