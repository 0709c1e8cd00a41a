"""A persona's folder, written whole or not at all."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from agent import __version__
from agent.config import ConfigError
from agent.persona import FILE, Persona, load_persona
from agent.voices.recording import write_flac

_HEAD = """\
# Made by {maker} (csm-agent {version}) on {today}. Everything here may be changed;
# `csm-agent persona check {name}` looks at it again.
"""


def write_persona(
    folder: Path,
    data: Mapping[str, Any],
    recordings: Sequence[tuple[NDArray[np.float32], str]],
    *,
    maker: str,
    replace: bool,
) -> Persona:
    """Writes persona.yaml and its recordings as FLAC, and reads them again.

    Args:
        folder: The persona's, named as the persona.
        data: What persona.yaml says, but for the references.
        recordings: float32 [samples] at 24 kHz, each with its words.
        maker: What made it, for the first line of the file.
        replace: Whether a folder of that name gives way.

    Raises:
        ConfigError: It cannot be written, or what was written could not be read again.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".adding-") as temporary:
            new = Path(temporary) / folder.name
            new.mkdir()
            references = []
            for number, (audio, text) in enumerate(recordings, 1):
                name = f"reference-{number}.flac"
                write_flac(new / name, audio)
                references.append({"audio": name, "text": text})
            voice = {"references": references, **data["voice"]}
            body = yaml.safe_dump(
                {**data, "voice": voice}, sort_keys=False, allow_unicode=True, width=96
            )
            head = _HEAD.format(
                maker=maker, version=__version__, today=date.today(), name=folder.name
            )
            (new / FILE).write_text(head + body, encoding="utf-8")
            load_persona(new / FILE)
            old = Path(temporary) / "old"
            if folder.exists() and replace:
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        return load_persona(folder / FILE)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}.") from None
