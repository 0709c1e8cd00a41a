"""The kernels as a shared library: built once by the compiler of the machine, then kept.

It is plain C++ without torch's headers, so that it takes seconds to build, and lasts through
changes of torch and of Python.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

_SOURCES = Path(__file__).with_name("kernels")
_MAIN = "csm.cpp"
_FLAGS = (
    *("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread", "-w"),
    # A fused product here and not there would make a row depend on its neighbours.
    *("-ffp-contract=off", "-fno-math-errno"),
)
# The first that the compiler takes: what this very processor can do.
_TARGETS = (("-march=native",), ("-mcpu=native",), ())
_LONGEST_BUILD_S = 300


@cache
def kernels() -> ctypes.CDLL | None:
    """The kernels, or None where they cannot be built, which is said once in the log."""
    try:
        found = load(_cache_folder())
    except BuildError as error:
        logger.warning("CSM's own kernels for CPUs are not used, and it is slower: %s", error)
        return None
    share_threads(found)
    return found


class BuildError(Exception):
    """The kernels cannot be had; one sentence that says what to do."""


def load(folder: Path | None, *, flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Takes the library from a folder, or builds it and leaves it there.

    Several processes may do so at once: each builds a file of its own, and the last one's stays.

    Args:
        folder: Made if it is not there; if it cannot be written, or is None, nothing is kept.
        flags: For the compiler, beside its usual ones.

    Raises:
        BuildError: There is no compiler, or it fails.
    """
    name = f"csm-{_fingerprint((os.environ.get('CXX', ''), *flags))}.so"
    if folder is not None:
        kept = folder / name
        try:
            return _open(kept)
        except OSError:  # not there, or not a library
            pass
    compiler = _compiler()
    if not compiler:
        raise BuildError(
            "there is no C++ compiler. On Debian or Ubuntu `apt install g++` brings one, on macOS "
            "`xcode-select --install`."
        )
    with tempfile.TemporaryDirectory(prefix="pipecat-csm-") as scratch:
        built = Path(scratch) / name
        _build(compiler, flags, built)
        try:
            return _open(_keep(built, folder) or built)
        except OSError as error:
            raise BuildError(f"what {compiler[0]} built cannot be loaded ({error}).") from None


def _compiler() -> tuple[str, ...]:
    """The command, with arguments that a user may have set; empty if there is none."""
    wanted = os.environ.get("CXX")
    if wanted:
        return tuple(shlex.split(wanted))
    found = (shutil.which(name) for name in ("c++", "g++", "clang++"))
    return next(((path,) for path in found if path), ())


def _build(compiler: tuple[str, ...], flags: tuple[str, ...], target: Path) -> None:
    said = ""
    for native in _TARGETS:
        command = [*compiler, *_FLAGS, *native, *flags, str(_SOURCES / _MAIN), "-o", str(target)]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=_LONGEST_BUILD_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"the compiler {compiler[0]} does not run ({error}).") from None
        if result.returncode == 0 and target.exists():
            return
        said = said or result.stderr.strip()
    line = next((line for line in said.splitlines() if "error" in line), said[:200])
    raise BuildError(f"the compiler {compiler[0]} fails ({line.strip() or 'without a word'}).")


def _keep(built: Path, folder: Path | None) -> Path | None:
    """Puts a copy where the next process finds it, all at once; None if that cannot be."""
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=folder, prefix=built.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(built.read_bytes())
                file.flush()
                os.fsync(handle)  # half a library would not fail, but crash
            os.replace(beside, folder / built.name)
        except OSError:
            os.unlink(beside)
            raise
    except OSError as error:
        logger.info("CSM's kernels are built anew at each start: %s", error)
        return None
    return folder / built.name


def _open(path: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(path))


def _fingerprint(how: tuple[str, ...]) -> str:
    """Of all that decides what is built: sources, flags, processor, a compiler if one is named."""
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for word in (*how, *_FLAGS, platform.machine(), *_processor()):
        digest.update(word.encode() + b"\0")
    return digest.hexdigest()[:20]


@cache
def _processor() -> tuple[str, ...]:
    """What tells processors apart whose instructions differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return (platform.processor(),)
    wanted = ("model name", "flags", "Features", "CPU part")
    return tuple(sorted({line for line in lines if line.startswith(wanted)}))


def share_threads(library: ctypes.CDLL) -> None:
    """Hands over torch's OpenMP, whichever it is; if it is not found the library does without."""
    for opened in _openmp_libraries():
        try:
            functions = opened.GOMP_parallel, opened.omp_get_thread_num, opened.omp_get_num_threads
        except AttributeError:
            continue
        library.csm_use_threads(*(ctypes.cast(f, ctypes.c_void_p) for f in functions))
        return


def _openmp_libraries() -> list[ctypes.CDLL]:
    """Those that may be the one that torch has loaded, likeliest first."""
    root = Path(torch.__file__).parent
    folders = (root / "lib", root.with_name("torch.libs"))
    paths = [p for f in folders for name in ("*gomp*", "*iomp5*", "*omp.*") for p in f.glob(name)]
    opened = []
    for path in (*map(str, paths), None):  # None: what the process has loaded for all
        try:
            # What torch has not loaded is not torch's.
            opened.append(ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW))
        except OSError:
            continue
    return opened


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pipecat-csm" / "kernels"
