"""A model of two small files, a package that ships it, and a hub on loopback that serves it."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.models import MODELS, File, Model
from agent.models.model import HubSource, Package, PackageSource

CONTENTS = {"config.json": b'{"toy": true}\n', "model.bin": bytes(range(256)) * 1200}
REVISION = "0123456789abcdef0123456789abcdef01234567"
REPO = "toys/toy"


def file_of(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def toy(**sources: PackageSource | HubSource) -> Model:
    """A whisper-like model called `toy`; keywords as `Model`'s."""
    files = tuple(file_of(name, content) for name, content in CONTENTS.items())
    return Model("toy", "whisper", "A toy", "MIT", files, **sources)  # type: ignore[arg-type]


def write_package(site: Path, module: str, files: dict[str, bytes]) -> Path:
    """An installed import package that ships files, and that cannot be imported."""
    folder = site / module
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('looked up, never imported')\n")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_wheel(folder: Path, module: str, version: str, files: dict[str, bytes]) -> None:
    """A wheel that pip can install from `folder`, which wants something that does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{module}-{version}.dist-info"
    entries = {
        f"{module}/__init__.py": b"",
        **{f"{module}/{name}": content for name, content in files.items()},
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n"
            "Requires-Dist: there-is-no-such-package\n"
        ).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*entries, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for name, content in {**entries, f"{info}/RECORD": record.encode()}.items():
            wheel.writestr(name, content)


@dataclass
class FakeHub:
    """The endpoint of the hub that gives files; what a test sets decides how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    cut_next_after: int | None = None
    delay_s: float = 0.0
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CSM_AGENT_CACHE", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which Python imports, for packages that a test makes."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def packaged(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`toy` as an installed package; the folder of its files."""
    source = PackageSource((Package("toy-weights", "1.0"),), folder="data")
    monkeypatch.setitem(MODELS, "toy", toy(package=source))
    files = {f"data/{name}": content for name, content in CONTENTS.items()}
    return write_package(site, "toy_weights", files) / "data"


@pytest.fixture
def split(site: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """`joined`, a voice whose one file comes in three packages; the paths of the parts."""
    contents = [b"first " * 500, b"second " * 500, b"third " * 500]
    names = [f"toy-part-{number}" for number in range(3)]
    source = PackageSource(
        tuple(
            Package(name, "1.0", file_of("part.bin", content))
            for name, content in zip(names, contents, strict=True)
        )
    )
    whole = file_of("whole.onnx", b"".join(contents))
    model = Model("joined", "tts", "A toy in parts", "MIT", (whole,), package=source)
    monkeypatch.setitem(MODELS, "joined", model)
    return [
        write_package(site, name.replace("-", "_"), {"part.bin": content}) / "part.bin"
        for name, content in zip(names, contents, strict=True)
    ]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A reachable hub that has `toy`, which the registry takes from there."""
    from huggingface_hub import constants

    fake = FakeHub({f"/{REPO}/resolve/{REVISION}/{n}": content for n, content in CONTENTS.items()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", fake.url)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setitem(MODELS, "toy", toy(hub=HubSource(REPO, REVISION)))
    yield fake
    server.shutdown()
    server.server_close()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            hub.asked.append((self.path, wanted))
            threading.Event().wait(hub.delay_s)
            if hub.refuse is not None:
                status, code = hub.refuse
                return self._answer(status, b"", {"X-Error-Code": code})
            content = hub.files.get(self.path)
            if content is None:
                return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            if wanted is None:
                return self._answer(200, content, {})
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self._answer(206, content[start:], {"Content-Range": span})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut, hub.cut_next_after = hub.cut_next_after, None
            self.wfile.write(body[:cut])

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
