"""The committed page is what its sources build, and it keeps to itself."""

import re
import shutil
from pathlib import Path

import pytest

from tests.agent.web.node import DIST, WEB, run

ADDRESS = re.compile(rb"(?:https?|wss?)://[a-z0-9.-]+", re.IGNORECASE)
# Mentioned in messages and metadata of the bundled packages; nothing is fetched from there.
MENTIONED = {b"https://github.com", b"http://www.w3.org"}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_bundle_is_what_its_sources_build(tmp_path: Path):
    """Needs the npm registry; without it this fails rather than pass unchecked."""
    copy = tmp_path / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=copy)
    run("npm", "run", "typecheck", cwd=copy)
    run("npm", "run", "build", cwd=copy)
    built, committed = contents(copy / "dist"), contents(DIST)
    assert built.keys() == committed.keys()
    differing = [name for name in built if built[name] != committed[name]]
    assert not differing, "run `npm ci && npm run build` in agent/web, and commit the bundle"


def test_the_page_names_no_other_host():
    found = {
        address.lower()
        for name, data in contents(DIST).items()
        if name != "LICENSES.txt"
        for address in ADDRESS.findall(data)
    }
    assert found <= MENTIONED


def test_the_page_forbids_itself_inline_code_and_other_origins():
    page = (DIST / "index.html").read_text("utf8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script-src 'self';" in policy[1]
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|\bstyle=", page)


def test_every_bundled_package_has_its_licence():
    notices = (DIST / "LICENSES.txt").read_text("utf8")
    headings = re.findall(r"^={80}\n(\S+) \S+ \((.+)\)\n\n(.+)", notices, re.MULTILINE)
    assert {"@pipecat-ai/client-js", "@protobuf-ts/runtime"} <= {name for name, _, _ in headings}
    assert not any("GPL" in licence for _, licence, _ in headings)


def test_the_lock_file_names_no_registry():
    assert '"resolved"' not in (WEB / "package-lock.json").read_text("utf8")
