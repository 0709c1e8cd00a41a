"""The user's model cache: where it is, and how several processes write to it without harm."""

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_POLL_S = 0.1


def cache_dir() -> Path:
    """`CSM_AGENT_CACHE`, or csm-agent's folder in the user's cache."""
    chosen = os.environ.get("CSM_AGENT_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "csm-agent"


def model_dir(name: str) -> Path:
    """The folder that the cache keeps for one model."""
    return cache_dir() / "models" / name


@contextmanager
def replace_atomically(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes `path`'s place when it is whole, and leaves no trace if it fails."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, timeout_s: float) -> Iterator[None]:
    """Holds the folder's lock, against other processes and other threads of this one.

    The lock is the system's own, so it goes when its holder dies.

    Raises:
        TimeoutError: Another holder kept it for longer than `timeout_s`.
        OSError: The folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as file:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{folder} is locked") from None
                time.sleep(_POLL_S)
        yield


def free_bytes(folder: Path) -> int:
    """The room on the disk that holds `folder`, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk has no room."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}
