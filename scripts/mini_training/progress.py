"""What a stage tells while it works: a bar for people, lines of JSON for later."""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm


class Progress:
    """A bar of minutes, and a file to which every report is appended.

    Args:
        stage: Whose it is.
        minutes: How long the stage is to take.
        file: Where the reports go; nowhere if None.
        quiet: Print nothing.
    """

    def __init__(
        self, stage: str, minutes: float, file: Path | None = None, *, quiet: bool = False
    ) -> None:
        self._stage, self._file = stage, file
        self._before = 0.0
        self._bar = tqdm(
            total=round(minutes, 2),
            desc=stage,
            unit="min",
            disable=quiet,
            file=sys.stderr,
            bar_format="{desc}: {percentage:3.0f}%|{bar:20}| {n:.1f}/{total:.1f} {unit} {postfix}",
        )

    def __enter__(self) -> "Progress":
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the bar."""
        self._bar.close()

    def count(self, total: int, unit: str) -> None:
        """What follows is not so many minutes, but so many of these."""
        self._bar.total, self._bar.unit = total, unit

    def time(self, minutes: float) -> None:
        """What follows is so many minutes again."""
        self._bar.total, self._bar.unit = round(minutes, 2), "min"

    def after(self, minutes: float) -> None:
        """What follows is a part of the stage, before which so many minutes lie."""
        self._before = minutes

    def at(self, minutes: float, note: str = "") -> None:
        """Moves the bar, to so many minutes, or of whatever is counted."""
        self._bar.n = min(round(self._before + minutes, 2), self._bar.total)
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.refresh()

    def report(self, **figures: Any) -> None:
        """Prints figures, and appends them to the file."""
        rounded = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in figures.items()
        }
        if not self._bar.disable:
            words = ", ".join(f"{name} {value}" for name, value in rounded.items())
            self._bar.write(f"{self._stage}: {words}", file=sys.stderr)
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            line = {"stage": self._stage, "at": time.strftime("%Y-%m-%dT%H:%M:%S"), **rounded}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
