"""What is missing, damaged or another model's is said in one sentence that names it."""

import json
import re
from pathlib import Path

import pytest
import torch
from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint import load_checkpoint, loading
from safetensors.torch import load_file, save_file

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

NORM = "backbone_model.norm.weight"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("original"))


@pytest.fixture
def folder(tmp_path, original) -> Path:
    """A whole checkpoint, for a test to damage."""
    for path in original.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def sentence_of(source: str | Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(source)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def change_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    save_file(tensors, folder / "model.safetensors")


def test_a_missing_tensor(folder):
    change_tensors(folder, **{NORM: None})
    assert f"1 tensor is missing ({NORM})" in sentence_of(folder)


def test_many_missing_tensors_are_counted_and_the_first_named(folder):
    names = [n for n in load_file(folder / "model.safetensors") if "backbone_model.layers.1" in n]
    change_tensors(folder, **dict.fromkeys(names))
    said = sentence_of(folder)
    assert re.search(
        r"9 tensors are missing \((backbone_model\.layers\.1\.[^,]*, ){3}\.\.\.\)", said
    )


def test_a_misshapen_tensor(folder):
    change_tensors(folder, **{NORM: torch.ones(31)})
    assert f"1 tensor is misshapen ({NORM}: [31] instead of [32])" in sentence_of(folder)


def test_an_unknown_tensor(folder):
    change_tensors(folder, **{"backbone_model.adapter.weight": torch.ones(3)})
    assert "1 tensor is unknown (backbone_model.adapter.weight)" in sentence_of(folder)


def test_quantised_weights(folder):
    change_tensors(folder, **{NORM: torch.ones(32, dtype=torch.int8)})
    assert f"({NORM}: I8)" in sentence_of(folder)


def test_names_and_shapes_are_checked_before_anything_is_read(folder, monkeypatch):
    change_tensors(folder, **{NORM: torch.ones(31)})
    monkeypatch.setattr(loading, "read", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(CheckpointError, match="misshapen"):
        load_checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 5, 1000, 100_000])
def test_half_a_file(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert sentence_of(folder).startswith("model.safetensors in ")
    assert "damaged or only half there" in sentence_of(folder)


def test_a_damaged_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:8] + b"x" * 100_000)
    assert "damaged" in sentence_of(folder)


def test_a_missing_shard(tmp_path):
    save_tiny(tiny_csm(), tmp_path, shards=3)
    (shard,) = tmp_path.glob("model-00002-of-*.safetensors")
    shard.unlink()
    assert f"lacks {shard.name}" in sentence_of(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert f"lacks {shard.name}" in sentence_of(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": 3}', "[]", "{"])
def test_a_damaged_index(tmp_path, text):
    save_tiny(tiny_csm(), tmp_path, shards=3)
    (tmp_path / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json" in sentence_of(tmp_path)


def test_an_index_cannot_lead_out_of_the_folder(folder):
    index = {"weight_map": {NORM: "../../elsewhere/model.safetensors", "x": "model.safetensors"}}
    (folder / "inner").mkdir()
    (folder / "inner" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "inner" in sentence_of(folder / "inner")
    assert "elsewhere" not in sentence_of(folder / "inner")


def test_another_models_checkpoint(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert "'llama'" in sentence_of(folder)
    save_file({"model.embed_tokens.weight": torch.ones(3)}, folder / "model.safetensors")
    assert "'llama'" in sentence_of(folder)
    (folder / "config.json").unlink()
    assert "is not CSM's: its tensors are called model.embed_tokens.weight" in sentence_of(folder)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_damaged_config(folder, text):
    (folder / "config.json").write_text(text)
    assert "config.json" in sentence_of(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", None),
        ("hidden_size", "wide"),
        ("num_attention_heads", 0),
        ("vocab_size", -3),
        ("codec_config", 7),
        ("tie_codebooks_embeddings", False),
    ],
)
def test_a_config_that_makes_no_sense(folder, field, value):
    data = json.loads((folder / "config.json").read_text())
    data |= {field: value, "head_dim": None}
    (folder / "config.json").write_text(json.dumps(data))
    assert "config.json" in sentence_of(folder)


def test_a_missing_config(folder):
    (folder / "config.json").unlink()
    assert "has no config.json" in sentence_of(folder)


def test_an_empty_folder(tmp_path):
    assert "is empty" in sentence_of(tmp_path)


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "holds no CSM checkpoint" in sentence_of(folder)
    (folder / "ckpt.pt").write_bytes(b"")
    assert "ckpt.pt is not read" in sentence_of(folder)


def test_no_folder_at_all(tmp_path):
    assert "There is no folder" in sentence_of(tmp_path / "nowhere")
    assert "There is no folder" in sentence_of("csm-1b")
    assert "sesame/csm-1b" in sentence_of("./sesame/csm-1b/")


def test_a_file_instead_of_its_folder(folder):
    assert "give the folder" in sentence_of(folder / "model.safetensors")


def test_a_missing_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in sentence_of(folder)


def test_a_damaged_tokenizer(folder):
    (folder / "tokenizer.json").write_text('{"model": ')
    assert "tokenizer.json is damaged" in sentence_of(folder)


def test_another_models_tokenizer(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("<|begin_of_text|>", "<s>"), "utf-8")
    assert "another model's: <|begin_of_text|> is None in it, and 256 in CSM" in sentence_of(folder)
