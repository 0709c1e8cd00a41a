"""Where the personas lie that the commands are about."""

import os
from pathlib import Path

from agent.config import ENV_PREFIX, ConfigError, nearest
from agent.persona import FILE, check_name, user_personas_dir
from agent.resources import configs_dir


def own_dir(chosen: Path | None) -> Path:
    """The folder of the user's own personas, which need not exist yet."""
    if chosen is not None:
        return chosen.expanduser()
    named = os.environ.get(f"{ENV_PREFIX}PERSONAS_DIR")
    return Path(named).expanduser() if named else user_personas_dir()


def find_file(name: str, own: Path) -> Path:
    """The file of a persona that is named, or whose folder or file is given.

    Raises:
        ConfigError: There is none.
    """
    path = Path(name).expanduser()
    if path.name == FILE or os.sep in name or name in {".", ".."}:
        file = path if path.name == FILE else path / FILE
        if not file.is_file():
            raise ConfigError(f"There is no persona at {path}: {file} is not there.")
        return file
    check_name(name)
    folders = (own, configs_dir() / "personas")
    for folder in folders:
        if (folder / name / FILE).is_file():
            return folder / name / FILE
    known = sorted({file.parent.name for folder in folders for file in folder.glob(f"*/{FILE}")})
    raise ConfigError(f"There is no persona {name!r}{nearest(name, known)}")
