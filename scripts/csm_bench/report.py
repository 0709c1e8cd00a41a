"""The figures of a run: rows, as JSON and on disk after each of them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FRAME_MS = 80.0
FLOOR = "what the memory allows"

Figure = float | int | bool


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        section: The table, by its key in `tables.SECTIONS`.
        what: What was measured.
        figures: By name, with the unit in it: `ms`, `p99_ms`, `bytes`. Only what was measured.
        note: What must be known to read it; of a row that failed, why.
    """

    section: str
    what: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Row":
        """From JSON."""
        figures = {k: v for k, v in data.items() if k not in ("section", "what", "note")}
        return cls(data["section"], data["what"], figures, data["note"])

    def as_json(self) -> dict[str, Any]:
        """The figures rounded to what a clock can tell."""
        figures = {k: round(v, 4) if type(v) is float else v for k, v in self.figures.items()}
        return {"section": self.section, "what": self.what, **figures, "note": self.note}


class Report:
    """Everything that a run has found until now."""

    def __init__(self, about: Mapping[str, Any], path: Path | None = None) -> None:
        """Nothing is found yet.

        Args:
            about: The machine, the versions, the settings.
            path: Written after every change, so that a run that is killed keeps its figures.
        """
        self.about = dict(about)
        self._rows: list[Row] = []
        self.left_out: list[str] = []
        self._path = path
        self._save()

    @classmethod
    def read(cls, path: Path) -> "Report":
        """What another run wrote."""
        data = json.loads(path.read_text())
        rows, left_out = data.pop("rows"), data.pop("left_out")
        report = cls(data)
        report._rows, report.left_out = [Row.of(row) for row in rows], left_out
        return report

    @property
    def rows(self) -> list[Row]:
        """All of them, each set against the floor and against real time."""
        floor = next((row for row in self._rows if row.what == FLOOR), None)
        return [_compared(row, floor) for row in self._rows]

    def add(self, row: Row) -> Row:
        """Adds a row; returns it as it is among the others.

        Of several floors the lowest counts: the machine may be shared, and does not read faster
        than it can.
        """
        places = [i for i, known in enumerate(self._rows) if known.what == row.what == FLOOR]
        if not places:
            self._rows.append(row)
        elif row.figures["ms"] < self._rows[places[0]].figures["ms"]:
            self._rows[places[0]] = row
        self._save()
        return next(known for known in reversed(self.rows) if known.what == row.what)

    def leave_out(self, what: str) -> None:
        """Notes what there was no time for."""
        self.left_out.append(what)
        self._save()

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        rows = [row.as_json() for row in self.rows]
        return {**self.about, "rows": rows, "left_out": self.left_out}

    def _save(self) -> None:
        if self._path is not None:
            # Whole or not at all, even if the run is killed here.
            beside = self._path.with_name(self._path.name + ".part")
            beside.write_text(json.dumps(self.as_json(), indent=1) + "\n")
            os.replace(beside, self._path)


def _compared(row: Row, floor: Row | None) -> Row:
    figures = dict(row.figures)
    if row.section == "frame" and "ms" in figures:
        figures["rtf"] = figures["ms"] / FRAME_MS
    if floor is not None and floor.what != row.what and "bytes" in figures and "ms" in figures:
        floor_ms = figures["bytes"] / floor.figures["bytes_per_s"] * 1e3
        figures |= {"floor_ms": floor_ms, "times_floor": figures["ms"] / floor_ms}
    return replace(row, figures=figures)
