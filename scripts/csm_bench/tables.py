"""The figures as Markdown, ready for docs/benchmarks.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.csm_bench.report import Report, Row


@dataclass(frozen=True)
class Column:
    """A figure of the rows.

    Attributes:
        key: Its name in them.
        title: Over the column.
        write: How it is written.
    """

    key: str
    title: str
    write: Callable[[Any], str]


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        title: Above it.
        columns: After the one that names what was measured.
    """

    title: str
    columns: tuple[Column, ...]


def _ms(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f} ms"
    return f"{value:.1f} ms" if value >= 1 else f"{value:.3f} ms"


def _s(value: float) -> str:
    return f"{value:.1f} s"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    return f"{value / 1e9:,.2f} GB" if value >= 1e8 else f"{value / 1e6:,.1f} MB"


def _rtf(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _times(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


_POSITIONS = Column("positions", "resident", _count)
_P50, _P99 = Column("ms", "median", _ms), Column("p99_ms", "p99", _ms)

SECTIONS: Mapping[str, Section] = {
    "frame": Section(
        "A frame (80 ms of speech) of one session",
        (
            _POSITIONS,
            _P50,
            _P99,
            Column("rtf", "RTF", _rtf),
            Column("bytes", "reads", _bytes),
            Column("floor_ms", "its floor", _ms),
            Column("times_floor", "times the floor", _times),
        ),
    ),
    "start": Section(
        "The start of a process, once its weights are read",
        (
            Column("packing_s", "weights packed", _s),
            Column("warm_up_s", "warm-up", _s),
            Column("first_ms", "first audio after it", _ms),
            Column("cold_s", "together", _s),
        ),
    ),
    "first audio": Section(
        "First audio of a text of 20 tokens",
        (
            Column("positions", "context", _count),
            Column("resident_ms", "resident", _ms),
            Column("anew_ms", "read anew", _ms),
        ),
    ),
    "work": Section(
        "What the host asks for, a frame",
        (
            Column("graph_launches", "graph launches", _count),
            Column("kernel_launches", "kernel launches", _count),
            Column("kernels", "kernels run", _count),
            Column("moves", "copies and fills", _count),
            Column("operators", "operators called", _count),
        ),
    ),
    "sustained": Section(
        "Sessions in real time: every frame under 80 ms at p99, 500 positions resident",
        (Column("sessions", "sessions", _count), _P50, _P99),
    ),
    "sessions": Section(
        "A frame of all sessions at once",
        (Column("sessions", "sessions", _count), _P50, _P99, Column("holds", "in time", _yes)),
    ),
    "rebuild": Section(
        "A shortened context read anew while another session speaks",
        (
            Column("positions", "positions", _count),
            Column("alone_ms", "alone", _ms),
            Column("live_ms", "beside one who speaks", _ms),
            Column("usual_ms", "his frame otherwise", _ms),
            Column("gap_ms", "his longest wait for one", _ms),
            Column("copy_ms", "copy into the slot", _ms),
        ),
    ),
    "memory": Section(
        "Memory",
        (
            Column("weights_bytes", "weights", _bytes),
            Column("session_bytes", "a session", _bytes),
            Column("peak_bytes", "process at most", _bytes),
        ),
    ),
}


def tables(report: Report) -> str:
    """All sections that have rows, and what was left out."""
    parts = [_heading(report.about)]
    for key, section in SECTIONS.items():
        rows = [row for row in report.rows if row.section == key]
        if rows:
            parts.append(f"{section.title}:\n\n{_table(section, rows)}")
    if report.left_out:
        parts.append(f"Left out, for want of time: {'; '.join(report.left_out)}.")
    return "\n\n".join(parts)


def _heading(about: Mapping[str, Any]) -> str:
    return (
        f"{about['shape']}, {about['dtype']}, random weights; {about['machine']}; torch "
        f"{about['torch']}, transformers {about['transformers']}, Python {about['python']}; "
        f"{about['date']}."
    )


def _table(section: Section, rows: list[Row]) -> str:
    columns = [c for c in section.columns if any(c.key in row.figures for row in rows)]
    noted = any(row.note for row in rows)
    lines = [["", *(c.title for c in columns), *([""] * noted)]]
    lines.append(["---"] + ["---:"] * len(columns) + ["---"] * noted)
    for row in rows:
        figures = [c.write(row.figures[c.key]) if c.key in row.figures else "" for c in columns]
        # A reason may hold what would end a cell.
        lines.append([row.what, *figures, *([row.note.replace("|", "\\|")] * noted)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
