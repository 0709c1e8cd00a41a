"""Checkpoints by hub id, with the hub's real client, from a hub on loopback."""

import errno
import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint import load_checkpoint
from pipecat_csm.model.checkpoint.hub import REVISIONS, is_hub_id

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

REPO = "someone/csm-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PINNED = REVISIONS["sesame/csm-1b"]
PAGE = "https://huggingface.co/sesame/csm-1b"


@dataclass
class FakeHub:
    """What the hub has and refuses (files only, if it lists them), and what was asked of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    lists: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def fetched(self) -> set[str]:
        """The files that were downloaded."""
        return {path.rpartition("/")[2] for path in self.asked if path.startswith("GET ")} - {""}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A checkpoint, and what else lies in such repositories."""
    folder = save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny"))
    (folder / "ckpt.pt").write_bytes(b"pickled")
    (folder / "prompt.wav").write_bytes(b"RIFF")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(files, tmp_path, monkeypatch) -> Iterator[FakeHub]:
    """A reachable hub that has a checkpoint under every id, and an empty cache."""
    from huggingface_hub import constants

    fake = FakeHub(dict(files))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield fake
    server.shutdown()
    server.server_close()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            parts = path.strip("/").split("/")
            if hub.refuse is not None and not (hub.lists and parts[0] == "api"):
                status, code = hub.refuse
                return self._answer(status, b"{}", {"X-Error-Code": code})
            if parts[0] == "api":
                hub.asked.append(f"API {'/'.join(parts[2:])}")
                return self._answer(200, json.dumps(self._described(parts)).encode(), {})
            hub.asked.append(f"{self.command} {path}")
            content = hub.files[parts[-1]]
            etag = f'"{parts[-1]}-{len(content)}"'
            return self._answer(200, content, {"ETag": etag, "X-Repo-Commit": parts[3]})

        def _described(self, parts: list[str]) -> object:
            repo, kind, revision = "/".join(parts[2:4]), parts[4], parts[5]
            if kind == "revision":
                commit = COMMIT if revision == "main" else revision
                return {"id": repo, "modelId": repo, "sha": commit, "siblings": [], "tags": []}
            return [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in hub.files.items()
            ]

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


def sentence_of(source: str, revision: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(source, revision=revision)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert PAGE in sentence or REPO in sentence
    return sentence


def test_a_checkpoint_by_its_id_and_nothing_that_is_not_needed(hub, caplog):
    with caplog.at_level(logging.INFO):
        checkpoint = load_checkpoint(REPO)
    assert checkpoint.source == REPO
    wanted = tiny_csm().state_dict()["embed_text_tokens.weight"]
    assert torch.equal(checkpoint.model.text_embeddings.weight, wanted)
    assert hub.fetched == hub.files.keys() - {"ckpt.pt", "prompt.wav"}
    assert f"{REPO} at commit {COMMIT}" in caplog.text


def test_of_two_formats_only_transformers_is_downloaded(hub, tmp_path):
    folder = save_tiny(tiny_csm(), tmp_path / "sharded", shards=2)
    hub.files = {"model.safetensors": b"Sesame's"}
    for path in folder.iterdir():
        name = path.name.replace("model", "transformers")
        hub.files[name] = path.read_bytes().replace(b'"model-', b'"transformers-')
    load_checkpoint(REPO)
    assert any(name.startswith("transformers-00001-of-") for name in hub.fetched)
    assert "model.safetensors" not in hub.fetched


def test_what_is_cached_is_not_asked_for_again_and_serves_offline(hub, monkeypatch):
    load_checkpoint(REPO)
    hub.asked.clear()
    load_checkpoint(REPO)
    assert hub.fetched == set()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.asked.clear()
    load_checkpoint(REPO)
    assert hub.asked == []


def test_sesames_revision_is_pinned_and_can_be_chosen(hub):
    load_checkpoint("sesame/csm-1b")
    assert {path.split("/")[4] for path in hub.asked if "resolve" in path} == {PINNED}
    hub.asked.clear()
    load_checkpoint("sesame/csm-1b", revision="main")
    assert "API sesame/csm-1b/revision/main" in hub.asked


@pytest.mark.parametrize("repo", ["sesame/csm-1b", REPO])
@pytest.mark.parametrize("listed", [True, False], ids=["its files are listed", "nothing is shown"])
def test_a_gated_model(hub, repo, listed):
    hub.refuse, hub.lists = (403, "GatedRepo"), listed
    said = sentence_of(repo)
    assert (
        f"is gated: accept its terms at https://huggingface.co/{repo}, run `hf auth login`" in said
    )
    assert PAGE in said


@pytest.mark.parametrize(
    ("status", "code"), [(404, "RepoNotFound"), (401, "RepoNotFound"), (403, "")]
)
def test_a_model_that_is_hidden_or_not_there(hub, status, code):
    hub.refuse = status, code
    said = sentence_of(REPO)
    assert f"no model at https://huggingface.co/{REPO}, or shows it only after a login" in said
    assert PAGE in said


def test_a_revision_that_is_not_there(hub):
    hub.refuse = 404, "RevisionNotFound"
    assert "no revision v7 of" in sentence_of(REPO, revision="v7")


def test_a_hub_that_fails(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    hub.refuse = 500, ""
    said = sentence_of("sesame/csm-1b")
    assert PAGE in said
    assert "try again" in said


def test_no_network(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = sentence_of(REPO)
    assert "could not be downloaded" in said
    assert "network" in said
    assert PAGE in said


def test_a_hub_that_is_switched_off(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = sentence_of(REPO)
    assert "HF_HUB_OFFLINE forbids" in said
    assert PAGE in said
    assert hub.asked == []


def test_a_full_disk(hub, monkeypatch):
    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fill)
    assert "the disk is full" in sentence_of(REPO)


def test_a_client_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    said = sentence_of(REPO)
    assert "pip install huggingface-hub" in said
    assert PAGE in said


def test_a_folder_is_never_taken_for_an_id(tmp_path, monkeypatch, hub):
    folder = tmp_path / "someone" / "csm-tiny"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="is empty"):
        load_checkpoint(REPO)
    with pytest.raises(CheckpointError, match="There is no folder"):
        load_checkpoint(Path("someone/else"))
    assert hub.asked == []
    assert is_hub_id("sesame/csm-1b")
    for path in ["csm-1b", "./a/b", "../a", "/a/b", "a/b/c", "a/", "~/a", "a/../b"]:
        assert not is_hub_id(path)
