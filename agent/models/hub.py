"""Downloads from the Hugging Face hub: pinned, checked, resumable, one process at a time."""

import os
from collections.abc import Callable
from pathlib import Path

from agent.models.cache import free_bytes, is_full, locked, model_dir
from agent.models.integrity import ModelError, flaw_of, remember, sha256_of
from agent.models.model import File, HubSource, Model

_LOCK_S = 1800.0


def is_offline() -> bool:
    """Whether the environment forbids the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def download(model: Model, source: HubSource, say: Callable[[str], None]) -> Path:
    """Downloads what the cache lacks of the model; a half file is gone on with.

    Returns:
        The model's folder in the cache.

    Raises:
        ModelError: The hub is off, out of reach, wants a login, or has other files than recorded;
            or the disk has no room. The sentence says which.
    """
    if is_offline():
        raise ModelError(
            f"{model.name} is not here and HF_HUB_OFFLINE forbids to download it; unset it and run "
            f"`csm-agent models fetch {model.name}`."
        )
    folder = model_dir(model.name)
    try:
        with locked(folder, _LOCK_S):
            wanted = [f for f in model.files if flaw_of(folder / f.name, f.size, f.sha256)]
            _check_room(model, folder, wanted)
            if wanted:
                say(f"Downloading {model.name} ({model.size / 1e6:.0f} MB) from {source.repo}")
            for file in wanted:
                _download_file(model, source, file, folder)
    except TimeoutError:
        raise ModelError(
            f"Another process has been downloading {model.name} for half an hour; "
            "let it end, or stop it and try again."
        ) from None
    except OSError as error:
        raise ModelError(_disk_sentence(model, folder, error)) from None
    return folder


def _download_file(model: Model, source: HubSource, file: File, folder: Path) -> None:
    part = folder / f".{file.name}.part"
    resumed = part.exists() and part.stat().st_size <= file.size
    for from_the_start in (False, True) if resumed else (True,):
        if from_the_start:
            part.unlink(missing_ok=True)
        _fill(model, source, file, part)
        if sha256_of(part) == file.sha256:
            part.replace(folder / file.name)
            remember(folder / file.name, file.sha256)
            return
    part.unlink()
    raise ModelError(
        f"{file.name} of {model.name} is not the recorded file (its sha256 differs) and was not "
        f"kept; look at who answers for {_endpoint()}, and run `csm-agent models fetch "
        f"{model.name}` again."
    )


def _fill(model: Model, source: HubSource, file: File, part: Path) -> None:
    """Appends to `part` what it lacks."""
    try:
        from huggingface_hub import errors, hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers
    except ImportError:
        raise ModelError(
            f"{model.name} comes from the hub; install its client: pip install 'csm-agent[agent]'"
        ) from None
    url = hf_hub_url(
        source.repo, file.name, revision=source.revision, endpoint=os.environ.get("HF_ENDPOINT")
    )
    page = f"{_endpoint()}/{source.repo}"
    try:
        with part.open("ab") as out:
            http_get(
                url,
                out,
                resume_size=out.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.name,
            )
            out.flush()
            os.fsync(out.fileno())
    except errors.GatedRepoError:
        raise ModelError(
            f"{model.name} is gated: accept its terms at {page}, run `hf auth login`, try again."
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(_hidden_sentence(page)) from None
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError):
        raise ModelError(
            f"The hub no longer has {file.name} of {page} at revision {source.revision[:12]}."
        ) from None
    except errors.OfflineModeIsEnabled:
        raise ModelError(f"{model.name} is not here and the hub is switched off.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in {401, 403}:
            raise ModelError(_hidden_sentence(page)) from None
        raise ModelError(
            f"The hub answered {status} for {file.name} of {page}; try again later."
        ) from None
    except OSError as error:
        if is_full(error):
            raise
        raise ModelError(_broken_sentence(model, error)) from None
    # The client's connection errors have no common name across its versions.
    except Exception as error:
        raise ModelError(_broken_sentence(model, error)) from None


def _check_room(model: Model, folder: Path, wanted: list[File]) -> None:
    have = sum(part.stat().st_size for f in wanted if (part := folder / f".{f.name}.part").exists())
    need = sum(file.size for file in wanted) - have
    room = free_bytes(folder)
    if need > room:
        raise ModelError(
            f"{model.name} needs {need / 1e6:.0f} MB in {folder}, which has {room / 1e6:.0f} MB "
            "free; make room or set CSM_AGENT_CACHE to another disk."
        )


def _hidden_sentence(page: str) -> str:
    return f"The hub has no model at {page}, or shows it only after a login (`hf auth login`)."


def _broken_sentence(model: Model, error: Exception) -> str:
    return (
        f"{model.name} could not be downloaded from {_endpoint()} ({type(error).__name__}); run "
        f"`csm-agent models fetch {model.name}` again, which goes on where this stopped."
    )


def _disk_sentence(model: Model, folder: Path, error: OSError) -> str:
    why = "the disk is full" if is_full(error) else error.strerror or str(error)
    return (
        f"{model.name} cannot be written to {folder} ({why}); make room or set CSM_AGENT_CACHE "
        "to another folder."
    )


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
