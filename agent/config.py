"""Reads settings: one YAML profile, then environment variables, validated once.

A profile may name a `base` profile, whose settings it then changes. Environment variables change
single settings and win: `CSM_AGENT__STT__MODEL=base.en` sets `stt.model`. Values are read as YAML,
so `false`, `3` and `[a, b]` mean what they look like.
"""

import difflib
import os
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from agent.resources import configs_dir
from agent.settings import Settings

ENV_PREFIX = "CSM_AGENT__"


class ConfigError(ValueError):
    """A profile that cannot be used; the message says which setting, and what to do."""


def profile_names() -> list[str]:
    """The profiles that ship, with `auto` first."""
    return ["auto", *sorted(p.stem for p in configs_dir().glob("*.yaml") if p.stem != "auto")]


def load_settings(
    profile: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Reads a profile by name or path and validates it once.

    Args:
        profile: A shipped profile's name, or a YAML file.
        overrides: Settings by dotted name (`{"server.port": 8000}`), as the command line gives
            them; they win over everything.
        environ: The environment; `os.environ` if None.

    Raises:
        ConfigError: Unknown profile, unreadable file, unknown setting or illegal value.
    """
    data = _read_profile(profile)
    for name, text in sorted((os.environ if environ is None else environ).items()):
        if name.startswith(ENV_PREFIX):
            path = name.removeprefix(ENV_PREFIX).lower().split("__")
            _set(data, path, parse_value(name, text), name)
    for dotted, value in (overrides or {}).items():
        _set(data, dotted.split("."), value, dotted)
    return validate(data, source=f"profile {str(profile)!r}")


def validate(data: Mapping[str, Any], *, source: str) -> Settings:
    """Turns plain data into `Settings`.

    Raises:
        ConfigError: One sentence for the first thing that is wrong, with the nearest right name.
    """
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, source, Settings)) from None


def _read_profile(profile: str | Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    path = _profile_path(profile)
    if path in seen:
        raise ConfigError(f"Profile {path} is its own base.")
    data = read_yaml(path, "profile")
    base = data.pop("base", None)
    if base is None:
        return data
    beside = path.parent / str(base)
    return _merge(_read_profile(beside if beside.is_file() else str(base), (*seen, path)), data)


def _profile_path(profile: str | Path) -> Path:
    given = Path(profile).expanduser()
    if given.suffix in {".yaml", ".yml"}:
        if given.is_file():
            return given.resolve()
        raise ConfigError(f"There is no profile file {given}.")
    shipped = configs_dir() / f"{profile}.yaml"
    if shipped.is_file():
        return shipped
    raise ConfigError(
        f"There is no profile {str(profile)!r}{nearest(str(profile), profile_names())}"
    )


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        ConfigError: The file cannot be read, or is not a mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"The {what} {path} is not valid YAML{where}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The {what} {path} cannot be read: {error}.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"The {what} {path} must be a mapping of settings.")
    return data


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the nearest known name, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names)}."


def parse_value(name: str, text: str) -> Any:
    """A setting's value as the environment or the command line give it, read as YAML.

    Raises:
        ConfigError: It is not valid YAML.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"The value of {name} is not valid YAML.") from None


def _set(data: dict[str, Any], path: list[str], value: Any, source: str) -> None:
    *parents, last = path
    for parent in parents:
        child = data[parent] = data.get(parent) or {}
        if not isinstance(child, dict):
            raise ConfigError(f"{source} does not name a setting: {parent!r} has no parts.")
        data = child
    data[last] = value


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def explain(error: ValidationError, source: str, model: type[BaseModel]) -> str:
    """The first thing that is wrong, as one sentence."""
    # A misspelt name explains the setting that is then missing, so it comes first.
    errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = errors[0]
    path = [str(part) for part in first["loc"]]
    dotted = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        return f"Unknown setting {dotted!r} in {source}{nearest(path[-1], known)}"
    if first["type"] == "missing":
        example = _example_of(model, path)
        add = f"; add it, for example: {path[-1]}: {example}" if example else "."
        return f"Setting {dotted!r} is missing in {source}{add}"
    return f"Setting {dotted!r} in {source} is {first['input']!r}: {first['msg']}."


def _example_of(model: type[BaseModel], path: list[str]) -> str | None:
    parent = _model_at(model, path[:-1])
    field = parent.model_fields.get(path[-1]) if parent else None
    return str(field.examples[0]) if field is not None and field.examples else None


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    found = _model_at(model, path)
    return list(found.model_fields) if found else []


def _model_at(model: type[BaseModel], path: list[str]) -> type[BaseModel] | None:
    for part in path:
        if part.isdecimal():  # the place in a list, whose model is at hand already
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return None
        model = inner
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    options = (
        get_args(annotation)
        if get_origin(annotation) in {Union, types.UnionType, tuple}
        else [annotation]
    )
    return next(
        (o for o in options if isinstance(o, type) and issubclass(o, BaseModel)),
        None,
    )
