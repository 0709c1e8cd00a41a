"""From a name or a path to files on this disk: path, installed package, cache; the hub on fetch."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.models import hub, packages
from agent.models.cache import model_dir
from agent.models.integrity import ModelError, flaw_of
from agent.models.model import Kind, Model
from agent.models.registry import MODELS, find

Where = Literal["package", "cache", "hub", "not here"]

_KIND_NAMES: dict[Kind, str] = {
    "whisper": "speech recognition",
    "llm": "a language model",
    "tts": "a voice",
    "speaker": "a speaker encoder",
}


@dataclass(frozen=True)
class ModelStatus:
    """Where a model is: `hub` and `not here` tell whether `fetch` would download or install it."""

    model: Model
    where: Where
    flaw: str | None = None

    @property
    def here(self) -> bool:
        """Whether it can be used as it is."""
        return self.where in {"package", "cache"}


def resolve(name_or_path: str, kind: Kind, *, verify: bool = False) -> Path:
    """The model's folder (whisper) or file (all others) on this disk; downloads nothing.

    What has a separator, a leading `~` or a model file's suffix is a path; all else is a name.

    Args:
        name_or_path: `tiny.en`, `~/models/x.gguf`, ...
        kind: What it is wanted for.
        verify: Hash the files again even where that has been done.

    Raises:
        ModelError: It is not here, damaged, unknown or of another kind; one sentence says what to
            do.
    """
    if _is_path(name_or_path):
        return _user_path(Path(name_or_path).expanduser(), kind)
    try:
        model = find(name_or_path)
    except ModelError as error:
        if Path(name_or_path).exists():
            raise ModelError(f"{error} For the path, write ./{name_or_path}.") from None
        raise
    if model.kind != kind:
        raise ModelError(
            f"{model.name} is {_KIND_NAMES[model.kind]}, and {_KIND_NAMES[kind]} is wanted here; "
            f"there are: {', '.join(m.name for m in MODELS.values() if m.kind == kind)}."
        )
    status = _status(model, verify=verify)
    if not status.here:
        state = f"is damaged: {status.flaw}" if status.flaw else "is not on this machine"
        raise ModelError(f"{model.name} {state}; run `csm-agent models fetch {model.name}`.")
    return _path(model, status)


def fetch(
    name: str, progress: Callable[[str], None] | None = None, *, verify: bool = False
) -> Path:
    """Makes a model available: joins, installs or downloads what is missing or damaged.

    Args:
        name: A name of the registry.
        progress: Is told, in a line, of each thing that takes long.
        verify: Hash the files again even where that has been done.

    Raises:
        ModelError: The sentence says why not, and what to do.
    """
    model = find(name)
    say = progress or (lambda line: None)
    status = _status(model, verify=verify)
    if status.here:
        return _path(model, status)
    failure: ModelError | None = None
    if model.package is not None:
        try:
            packages.install(model, model.package, say)
            status = _status(model)
            if status.here:
                return _path(model, status)
            failure = ModelError(f"{model.name} was installed, but {status.flaw}.")
        except ModelError as error:
            failure = error
    if model.hub is not None and not (failure and hub.is_offline()):
        return hub.download(model, model.hub, say) / model.entry
    raise failure or ModelError(f"{model.name} has no source to fetch it from.")


def is_available(name: str) -> bool:
    """Whether the model of that name is here and whole."""
    return _status(find(name)).here


def list_models() -> list[ModelStatus]:
    """Every known model and where it is."""
    return [_status(model) for model in MODELS.values()]


def _status(model: Model, *, verify: bool = False) -> ModelStatus:
    flaws: list[str] = []
    source = model.package
    if source is not None and not source.split:
        folder = packages.folder_of(model, source)
        if folder is not None:
            flaw = _flaw(model, folder, verify=verify)
            if flaw is None:
                return ModelStatus(model, "package")
            flaws.append(flaw)
    if source is not None and source.split and packages.parts_of(source) is not None:
        # A joined file that went bad is no matter: the parts make a new one.
        flaw = _flaw(model, model_dir(model.name), verify=verify)
        if flaw is not None:
            flaw = packages.flaw_of_parts(source, verify=verify)
        if flaw is None:
            return ModelStatus(model, "package")
        flaws.append(flaw)
    cached = model_dir(model.name)
    if any((cached / file.name).exists() for file in model.files):
        flaw = _flaw(model, cached, verify=verify)
        if flaw is None:
            return ModelStatus(model, "cache")
        flaws.append(flaw)
    return ModelStatus(model, "hub" if model.hub else "not here", flaws[0] if flaws else None)


def _path(model: Model, status: ModelStatus) -> Path:
    source = model.package
    if status.where == "package" and source is not None:
        folder = packages.join(model, source) if source.split else packages.folder_of(model, source)
        assert folder is not None
        return folder / model.entry
    return model_dir(model.name) / model.entry


def _flaw(model: Model, folder: Path, *, verify: bool) -> str | None:
    for file in model.files:
        flaw = flaw_of(folder / file.name, file.size, file.sha256, verify=verify)
        if flaw is not None:
            return f"{file.name} {flaw}"
    return None


def _is_path(text: str) -> bool:
    return os.sep in text or text.startswith("~") or text.endswith((".gguf", ".onnx"))


def _user_path(path: Path, kind: Kind) -> Path:
    """Refuses at once what its loader would fail on in many more words."""
    if not path.exists():
        raise ModelError(f"There is no file or folder {path}; give another path or a model's name.")
    if kind == "whisper":
        missing = [n for n in ("config.json", "model.bin") if not (path / n).is_file()]
        if missing:
            raise ModelError(
                f"{path} is not a faster-whisper model: it must be a folder that has "
                f"{' and '.join(missing)}."
            )
        return path
    if not path.is_file():
        raise ModelError(f"{path} is not a file; {_KIND_NAMES[kind]} is one file.")
    if kind == "llm":
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelError(f"{path} is not a GGUF file; give one that llama.cpp can load.")
    return path
