"""Whether a file is the file that was recorded: size and sha256, hashed once and remembered."""

import hashlib
import json
import os
from pathlib import Path

from agent.models.cache import cache_dir, replace_atomically

_BLOCK_BYTES = 1 << 20


class ModelError(RuntimeError):
    """A model cannot be had; the message is one sentence that says what to do."""


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex; about 0.2 s for 100 MB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def flaw_of(path: Path, size: int, sha256: str, *, verify: bool = False) -> str | None:
    """What is wrong with a file, in words that follow its name; None if it is as recorded.

    A hash that was computed is remembered for as long as the file's size and modification time
    stay the same, so that a start costs no second look at hundreds of megabytes.

    Args:
        path: The file.
        size: The recorded size in bytes.
        sha256: The recorded hash in hex.
        verify: Hash again even where the result is remembered.
    """
    try:
        seen = _facts(path, sha256)
    except OSError:
        return "is missing"
    if seen["size"] != size:
        return f"has {seen['size']:,} bytes instead of {size:,}"
    if not verify and _remembered(path) == seen:
        return None
    try:
        actual = sha256_of(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if actual != sha256:
        # What this look found must hold for the next one, which may trust the stamp.
        _stamp_path(path).unlink(missing_ok=True)
        return "has been changed (its sha256 differs)"
    remember(path, sha256)
    return None


def remember(path: Path, sha256: str) -> None:
    """Notes that the file, as it is now, has this hash.

    A cache that cannot be written costs time at each start, and nothing else.
    """
    stamp = _stamp_path(path)
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(stamp) as file:
            file.write(json.dumps(_facts(path, sha256)).encode())
    except OSError:
        return


def _facts(path: Path, sha256: str) -> dict[str, str | int]:
    stat = path.stat()
    return {
        "path": str(path),
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "sha256": sha256,
    }


def _stamp_path(path: Path) -> Path:
    return cache_dir() / "verified" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _remembered(path: Path) -> object:
    try:
        return json.loads(_stamp_path(path).read_bytes())
    except (OSError, ValueError):
        return None
