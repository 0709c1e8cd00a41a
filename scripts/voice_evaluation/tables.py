"""The report for people, in Markdown, as docs/benchmarks.md has it."""

from collections.abc import Mapping
from typing import Any

_HEAD = (
    "| turn | seconds | RTF | similarity | nearest other | right voice | WER | quality | run-away |"
)
_NONE = "-"


def tables(report: Mapping[str, Any]) -> str:
    """All of a report."""
    return "\n".join([_about(report), "", *_turns(report), "", *_overall(report)])


def _about(report: Mapping[str, Any]) -> str:
    about = report["about"]
    others = ", ".join(f"{name} {_two(alike)}" for name, alike in report["others"].items())
    return (
        f"{about['voice']}, to sound like {report['reference']}; {report['caller']} asks. "
        f"{about['machine']}, {about['date']}. Words by Whisper {about['whisper']}, quality by "
        f"DistillMOS. How like the reference the other personas' recordings are: {others}."
    )


def _turns(report: Mapping[str, Any]) -> list[str]:
    lines = [_HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
    for row in report["turns"]:
        nearest = _NONE
        if row["nearest"] is not None:
            nearest = f"{row['nearest']} {_two(row['nearest_similarity'])}"
        right = {None: _NONE, True: "yes", False: "no"}[row["right_voice"]]
        cells = [
            str(row["turn"]),
            f"{row['seconds']:.1f}",
            _two(row["rtf"]),
            _two(row["similarity"]),
            nearest,
            right,
            _percent(row["wer"]),
            _two(row["quality"]),
            row["runaway"] or _NONE,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _overall(report: Mapping[str, Any]) -> list[str]:
    found = report["overall"]
    edge = found["edge_turns"]
    rows = {
        "spoken": f"{found['turns']} turns, {found['seconds']:.1f} s",
        "RTF": _two(found["rtf"]),
        "similarity to the reference": f"{_two(found['similarity'])}, lowest "
        f"{_two(found['similarity_lowest'])}",
        f"its mean over the first {edge} and the last {edge}": f"{_two(found['similarity_first'])} "
        f"and {_two(found['similarity_last'])}, drift "
        + (_NONE if found["drift"] is None else f"{found['drift']:+.3f}"),
        f"likeness of the first {edge} to the last {edge}": _two(found["first_to_last"]),
        "right voice": _percent(found["right_voice_rate"]),
        "similarity to the nearest other": f"{_two(found['nearest_similarity'])}, mostly "
        f"{found['nearest'] or _NONE}",
        "WER": f"{_percent(found['wer'])}, {found['word_errors']} of {found['words']} words",
        "predicted quality": f"{_two(found['quality'])}, lowest {_two(found['quality_lowest'])}",
        "run-aways": _percent(found["runaway_rate"]),
    }
    return [
        "| overall | |",
        "|---|---|",
        *(f"| {what} | {value} |" for what, value in rows.items()),
    ]


def _two(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"
