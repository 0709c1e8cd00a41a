"""Checkpoints from the Hugging Face hub, through its own client and cache."""

import errno
import logging
import os
import re
from pathlib import Path

from pipecat_csm.errors import CheckpointError

_log = logging.getLogger(__name__)

_CSM_1B_PAGE = "https://huggingface.co/sesame/csm-1b"
_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

# The commits that are known; other repositories are taken as they are now, which is logged.
REVISIONS = {"sesame/csm-1b": "c92a71e1c419772e25be7dc14d952c2521a740ab"}


def is_hub_id(source: str) -> bool:
    """Whether a source can be the id of a repository on the hub, as "sesame/csm-1b"."""
    return _ID.fullmatch(source) is not None


def download(repo: str, revision: str | None = None) -> Path:
    """Downloads what the hub's cache lacks of a checkpoint.

    Args:
        repo: The repository's id.
        revision: A commit, tag or branch; the pinned commit where one is known, or "main".

    Returns:
        The folder in the cache.

    Raises:
        CheckpointError: The hub's client is not installed, the hub is off or out of reach, has no
            such repository or revision, or asks for access; the sentence says what to do.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{repo} is on the hub, whose client is not installed: pip install huggingface-hub, "
            f"or download {_CSM_1B_PAGE} and give its folder."
        ) from None
    revision = revision or REVISIONS.get(repo) or "main"

    def get(*patterns: str) -> Path:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=["*.json", *patterns],
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        )

    try:
        # Sesame's repository has all weights thrice; the indexes tell which are needed.
        folder = get(_weights_of(get()))
    # The client's connection errors have no common name across its versions.
    except Exception as error:
        raise CheckpointError(_sentence(repo, revision, error)) from None
    _log.info("%s at commit %s", repo, folder.name)
    return folder


def _weights_of(folder: Path) -> str:
    if (folder / "transformers.safetensors.index.json").exists():
        return "transformers-*.safetensors"
    return "*.safetensors"


def _sentence(repo: str, revision: str, error: Exception) -> str:
    from huggingface_hub import errors

    root = _root_of(error)
    page = f"https://huggingface.co/{repo}"
    or_elsewhere = (
        ""
        if repo == "sesame/csm-1b"
        else f", or use the original at {_CSM_1B_PAGE}, or give a folder with the files"
    )
    if isinstance(root, errors.GatedRepoError):
        return (
            f"{repo} is gated: accept its terms at {page}, run `hf auth login`, and try again"
            f"{or_elsewhere}."
        )
    status = root.response.status_code if isinstance(root, errors.HfHubHTTPError) else None
    if isinstance(root, errors.RevisionNotFoundError):
        return f"The hub has no revision {revision} of {page}; give another, as revision='main'."
    if isinstance(root, errors.RepositoryNotFoundError) or status in {401, 403}:
        return (
            f"The hub has no model at {page}, or shows it only after a login (`hf auth login`)"
            f"{or_elsewhere or ' of someone who has accepted its terms'}."
        )
    if status is not None:
        return f"The hub answered {status} for {page}; try again later{or_elsewhere}."
    if isinstance(root, errors.OfflineModeIsEnabled):
        return (
            f"{repo} is not here and HF_HUB_OFFLINE forbids to download it: unset it, or give a "
            f"folder with the files of {_CSM_1B_PAGE}."
        )
    if isinstance(root, OSError) and root.errno == errno.ENOSPC:
        return f"{repo} could not be downloaded: the disk is full; set HF_HOME to another one."
    return (
        f"{repo} is not here and could not be downloaded from {page} ({type(root).__name__}): "
        f"look at the network and try again, or give a folder with the files of {_CSM_1B_PAGE}."
    )


def _root_of(error: Exception) -> BaseException:
    """What the client met: it wraps that in "not in the cache" when the cache is no help."""
    from huggingface_hub import errors

    telling = (errors.HfHubHTTPError, errors.OfflineModeIsEnabled)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, telling):
        cause = cause.__cause__
    return cause or error
