"""`csm-agent persona remove`."""

import argparse
import shutil

from agent.config import ConfigError
from agent.persona import FILE, check_name
from agent.persona_commands.asking import ask, can_ask
from agent.persona_commands.folders import find_file, own_dir


def run(args: argparse.Namespace) -> int:
    """Deletes one of the user's own personas with all that is in its folder.

    Raises:
        ConfigError: It is not one of them, nobody agreed, or it cannot be deleted.
    """
    folder = own_dir(args.dir) / check_name(args.name)
    if not (folder / FILE).is_file():
        shipped = find_file(args.name, own_dir(args.dir)).parent
        raise ConfigError(f"{args.name!r} ships with csm-agent, in {shipped}; it stays.")
    if not args.yes:
        if not can_ask():
            raise ConfigError(f"This deletes {folder} and its recordings; add --yes to do it.")
        if ask(f"Delete {folder} and its recordings? [y/N] ").lower() not in {"y", "yes"}:
            print("Nothing was deleted.")
            return 1
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be deleted: {error.strerror or error}.") from None
    print(f"Deleted {folder}.")
    return 0
