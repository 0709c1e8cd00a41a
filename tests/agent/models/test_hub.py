"""Downloads with the hub's real client from a hub on loopback."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.models import ModelError, fetch, is_available, list_models, resolve
from agent.models import hub as hub_module
from agent.models.cache import model_dir
from tests.agent.models.conftest import CONTENTS, REPO, REVISION

WEIGHTS = CONTENTS["model.bin"]
URL = f"/{REPO}/resolve/{REVISION}/model.bin"


def assert_whole(folder: Path) -> None:
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert sorted(p.name for p in folder.iterdir()) == [".lock", "config.json", "model.bin"]


def test_the_pinned_revision_is_downloaded_into_the_cache(hub):
    said = []
    folder = fetch("toy", said.append)
    assert folder == model_dir("toy") == resolve("toy", "whisper")
    assert_whole(folder)
    assert [path for path, _ in hub.asked] == [f"/{REPO}/resolve/{REVISION}/{n}" for n in CONTENTS]
    assert said == [f"Downloading toy (0 MB) from {REPO}"]


def test_what_is_here_is_not_downloaded_again(hub):
    fetch("toy")
    hub.asked.clear()
    fetch("toy")
    assert hub.asked == []


def test_before_it_is_fetched_it_is_said_to_be_on_the_hub(hub):
    assert [s.where for s in list_models() if s.model.name == "toy"] == ["hub"]
    assert not is_available("toy")


@pytest.mark.parametrize("damage", [b"half", b"x" * len(WEIGHTS)])
def test_a_damaged_file_is_refused_and_only_it_is_downloaded_again(hub, damage):
    folder = fetch("toy")
    (folder / "model.bin").write_bytes(damage)
    with pytest.raises(
        ModelError, match=r"toy is damaged: model\.bin .*csm-agent models fetch toy"
    ):
        resolve("toy", "whisper")
    hub.asked.clear()
    assert_whole(fetch("toy"))
    assert hub.asked == [(URL, None)]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub, monkeypatch):
    # The client keeps whole chunks; its own are 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    hub.files.pop(f"/{REPO}/resolve/{REVISION}/config.json")
    (model_dir("toy")).mkdir(parents=True)
    (model_dir("toy") / "config.json").write_bytes(CONTENTS["config.json"])
    hub.cut_next_after = 100_000
    assert_whole(fetch("toy"))
    assert hub.asked == [(URL, None), (URL, "bytes=100000-")]


def test_a_download_that_was_killed_is_taken_up_by_the_next(hub):
    folder = model_dir("toy")
    folder.mkdir(parents=True)
    (folder / ".model.bin.part").write_bytes(WEIGHTS[:200_000])
    assert_whole(fetch("toy"))
    assert hub.asked[-1] == (URL, "bytes=200000-")


def test_a_half_file_of_something_else_is_thrown_away(hub):
    folder = model_dir("toy")
    folder.mkdir(parents=True)
    (folder / ".model.bin.part").write_bytes(b"x" * 200_000)
    assert_whole(fetch("toy"))
    assert hub.asked[-2:] == [(URL, "bytes=200000-"), (URL, None)]


def test_another_file_than_recorded_is_refused_and_not_kept(hub):
    hub.files[URL] = b"x" * len(WEIGHTS)
    with pytest.raises(ModelError, match=r"model\.bin of toy is not the recorded file"):
        fetch("toy")
    assert not list(model_dir("toy").glob("*model.bin*"))
    assert not is_available("toy")


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "GatedRepo", r"toy is gated: accept its terms at http://\S+/toys/toy, run `hf auth"),
        (401, "GatedRepo", r"toy is gated: accept its terms at"),
        (401, "", "no model at .*, or shows it only after a login"),
        (404, "RepoNotFound", "no model at"),
        (404, "RevisionNotFound", f"no longer has .* at revision {REVISION[:12]}"),
        (404, "EntryNotFound", f"no longer has .* at revision {REVISION[:12]}"),
        (500, "", "answered 500 for config.json"),
    ],
)
def test_a_refusal_is_one_sentence(hub, status, code, sentence):
    hub.refuse = (status, code)
    with pytest.raises(ModelError, match=sentence) as caught:
        fetch("toy")
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_down(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"could not be downloaded from http://127\.0\.0\.1:9"):
        fetch("toy")


def test_offline_asks_nobody(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE forbids"):
        fetch("toy")
    assert hub.asked == []


def test_a_full_disk_is_found_before_anything_is_downloaded(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "free_bytes", lambda folder: 1000)
    with pytest.raises(ModelError, match="make room or set CSM_AGENT_CACHE to another disk"):
        fetch("toy")
    assert hub.asked == []


def test_room_is_asked_only_for_what_is_still_to_come(hub, monkeypatch):
    folder = model_dir("toy")
    folder.mkdir(parents=True)
    (folder / ".model.bin.part").write_bytes(WEIGHTS[:-500])
    monkeypatch.setattr(hub_module, "free_bytes", lambda folder: 1000)
    assert_whole(fetch("toy"))


def test_a_cache_that_cannot_be_written(hub, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="cannot be written"):
        fetch("toy")


def test_two_processes_at_once_download_it_once(hub):
    hub.delay_s = 0.5
    code = (
        "from agent.models import MODELS, fetch\n"
        "from agent.models.model import HubSource\n"
        "from tests.agent.models.conftest import REPO, REVISION, toy\n"
        "MODELS['toy'] = toy(hub=HubSource(REPO, REVISION))\n"
        "fetch('toy')\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert_whole(model_dir("toy"))
    assert sorted(path for path, _ in hub.asked if "/resolve/" in path) == sorted(hub.files)
