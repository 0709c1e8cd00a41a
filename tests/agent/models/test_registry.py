"""The registry: its names, its hashes, and that the installed packages have what it records."""

import re

import pytest

from agent.models import EMBEDDED, MODELS, ModelError, find, resolve
from agent.models.cache import model_dir
from agent.models.integrity import sha256_of


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_every_file_has_a_size_and_a_hash_and_every_download_a_pinned_commit(model):
    for file in model.files:
        assert file.size > 0
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
    if model.hub is not None:
        assert re.fullmatch("[0-9a-f]{40}", model.hub.revision)
    assert model.package is not None or model.hub is not None


def test_only_licences_that_let_anyone_use_the_model():
    assert {model.licence for model in MODELS.values()} <= {"MIT", "Apache-2.0"}


def test_the_parts_of_a_split_model_are_as_long_as_the_whole():
    for model in MODELS.values():
        if model.package is not None and model.package.split:
            parts = [package.part.size for package in model.package.packages if package.part]
            assert sum(parts) == model.size


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_models_are_in_their_packages_as_recorded(name):
    model = find(name)
    path = resolve(name, model.kind, verify=True)
    folder = path if model.kind == "whisper" else path.parent
    assert {sha256_of(folder / file.name) for file in model.files} == {
        file.sha256 for file in model.files
    }


def test_kokoro_is_joined_into_the_cache():
    path = resolve("kokoro-82m", "tts")
    assert path == model_dir("kokoro-82m") / "kokoro-v1.0.int8.onnx"


def test_a_name_is_found_whatever_its_case():
    assert find("Tiny.EN").name == "tiny.en"


@pytest.mark.parametrize(("typed", "meant"), [("tiny-en", "tiny.en"), ("kokoro", "kokoro-82m")])
def test_a_mistyped_name_is_answered_with_the_nearest_right_one(typed, meant):
    with pytest.raises(ModelError, match=f"did you mean {re.escape(meant)}"):
        find(typed)


def test_a_name_like_no_other_is_answered_with_where_the_names_are():
    with pytest.raises(ModelError, match="csm-agent models list"):
        find("xxxxxxxxxxxx")
