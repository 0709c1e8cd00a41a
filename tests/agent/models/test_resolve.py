"""From a name or path to files: the order of the places, and a sentence for each that fails."""

import subprocess
import sys

import pytest

from agent.models import MODELS, ModelError, is_available, list_models, resolve
from agent.models.cache import cache_dir, model_dir
from tests.agent.models.conftest import CONTENTS, toy


def fill_cache():
    folder = model_dir("toy")
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


def where(name):
    return next(status.where for status in list_models() if status.model.name == name)


class TestAPath:
    def test_a_whisper_folder(self, tmp_path):
        for name in CONTENTS:
            (tmp_path / name).write_bytes(b"x")
        assert resolve(str(tmp_path), "whisper") == tmp_path

    def test_a_tilde_is_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "my.gguf").write_bytes(b"GGUF...")
        assert resolve("~/my.gguf", "llm") == tmp_path / "my.gguf"

    def test_a_bare_file_name_with_a_models_suffix(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "voice.onnx").write_bytes(b"x")
        assert resolve("voice.onnx", "tts").read_bytes() == b"x"

    @pytest.mark.parametrize("kind", ["whisper", "llm", "tts"])
    def test_that_does_not_exist(self, kind):
        with pytest.raises(ModelError, match=r"There is no file or folder /no/such/model"):
            resolve("/no/such/model", kind)

    def test_a_folder_that_is_no_whisper_model(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(ModelError, match=r"a folder that has model\.bin"):
            resolve(str(tmp_path), "whisper")

    def test_a_file_that_is_no_gguf(self, tmp_path):
        (tmp_path / "x.gguf").write_bytes(b"<html>not found</html>")
        with pytest.raises(ModelError, match="is not a GGUF file"):
            resolve(str(tmp_path / "x.gguf"), "llm")

    def test_a_folder_where_a_file_is_wanted(self, tmp_path):
        with pytest.raises(ModelError, match="is not a file"):
            resolve(str(tmp_path), "tts")

    def test_a_folder_named_without_a_separator_is_pointed_out(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mywhisper").mkdir()
        with pytest.raises(ModelError, match=r"write \./mywhisper"):
            resolve("mywhisper", "whisper")


class TestAName:
    def test_an_installed_package_comes_before_the_cache(self, packaged):
        fill_cache()
        assert resolve("toy", "whisper") == packaged
        assert where("toy") == "package"

    def test_the_cache_stands_in_for_a_damaged_package(self, packaged):
        folder = fill_cache()
        (packaged / "model.bin").write_bytes(b"half")
        assert resolve("toy", "whisper") == folder
        assert where("toy") == "cache"

    def test_a_damaged_package_alone_is_refused(self, packaged):
        (packaged / "model.bin").write_bytes(b"half")
        with pytest.raises(
            ModelError, match=r"toy is damaged: model\.bin has 4 bytes.*csm-agent models fetch toy"
        ):
            resolve("toy", "whisper")
        assert not is_available("toy")

    def test_a_package_that_lacks_a_file_is_refused(self, packaged):
        (packaged / "config.json").unlink()
        with pytest.raises(ModelError, match=r"config\.json is missing"):
            resolve("toy", "whisper")

    def test_that_is_nowhere_names_the_command_that_gets_it(self, monkeypatch):
        monkeypatch.setitem(MODELS, "toy", toy())
        with pytest.raises(
            ModelError, match="not on this machine; run `csm-agent models fetch toy"
        ):
            resolve("toy", "whisper")
        assert where("toy") == "not here"

    def test_of_another_kind_names_those_of_the_right_one(self, packaged):
        with pytest.raises(ModelError, match=r"toy is speech recognition.*smollm2-135m-instruct"):
            resolve("toy", "llm")

    def test_verify_finds_damage_that_left_size_and_time_alone(self, packaged):
        import os

        resolve("toy", "whisper")
        path = packaged / "model.bin"
        before = path.stat()
        path.write_bytes(b"x" + path.read_bytes()[1:])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert resolve("toy", "whisper") == packaged
        with pytest.raises(ModelError, match="sha256 differs"):
            resolve("toy", "whisper", verify=True)


class TestTheCacheFolder:
    def test_is_the_users_choice_first(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CSM_AGENT_CACHE", str(tmp_path / "mine"))
        assert cache_dir() == tmp_path / "mine"

    def test_then_the_desktops(self, monkeypatch, tmp_path):
        monkeypatch.delenv("CSM_AGENT_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_dir() == tmp_path / "csm-agent"

    def test_then_the_home_folders(self, monkeypatch, tmp_path):
        monkeypatch.delenv("CSM_AGENT_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_dir() == tmp_path / ".cache" / "csm-agent"


def test_importing_loads_no_model_library():
    heavy = "{'numpy', 'huggingface_hub', 'faster_whisper', 'xllamacpp', 'onnxruntime', 'tqdm'}"
    code = f"import sys, agent.models, agent.models.commands; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
