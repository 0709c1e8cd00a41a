"""What a work folder was begun with: the stages of one run must agree, over all their commands."""

import json
from pathlib import Path

from scripts.mini_training.errors import TrainingError

_FILE = "run.json"


def agree(work: Path, **choices: str | int | None) -> None:
    """Takes note of choices that a stage makes, or holds it to those that were made before.

    Args:
        work: The folder of the run.
        choices: By the name of their option, without its dashes; None where it was not given.

    Raises:
        TrainingError: The run was begun with another.
    """
    file = work / _FILE
    begun: dict[str, str | int | None] = (
        json.loads(file.read_text("utf-8")) if file.exists() else {}
    )
    for name, choice in choices.items():
        before = begun.setdefault(name, choice)
        if before != choice:
            was = f"without --{name}" if before is None else f"with --{name} {before}"
            raise TrainingError(
                f"The run in {work} was begun {was}; go on so, or give another folder with --work."
            )
    work.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(begun, indent=1) + "\n", "utf-8")
    partial.replace(file)
