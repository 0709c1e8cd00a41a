"""The figures, as JSON and as Markdown for docs/benchmarks.md."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scripts.word_times_bench.measure import WAYS, Found

_TIMES = ("mean_ms", "median_ms", "p95_ms")
_SHARES = ("cuts_exact", "cuts_one_off")


def figures(found: Found) -> dict[str, Any]:
    """What is reported of some sentences, in milliseconds and shares."""
    rows: dict[str, dict[str, float]] = {}
    for way, errors in found.errors.items():
        ms = 1e3 * np.array(errors)
        rows[way] = {
            "mean_ms": round(float(ms.mean()), 1),
            "median_ms": round(float(np.median(ms)), 1),
            "p95_ms": round(float(np.percentile(ms, 95)), 1),
        }
    for way, cuts in found.cuts.items():
        off = np.abs(cuts)
        rows[way] = rows.get(way, {}) | {
            "cuts_exact": round(float(np.mean(off == 0)), 4),
            "cuts_one_off": round(float(np.mean(off == 1)), 4),
        }
    return {
        "words": found.words,
        "ways": rows,
        "whisper_heard": found.heard,
        "announced_after_ms": {
            "mean": round(1e3 * float(np.mean(found.delays)), 1),
            "p95": round(1e3 * float(np.percentile(found.delays, 95)), 1),
        },
        "frame_ms": round(1e3 * float(np.median(found.frame_s)), 3),
        "finish_ms": round(1e3 * float(np.median(found.finish_s)), 3),
    }


def tables(report: Mapping[str, Any]) -> str:
    """The report of a run."""
    lines = [
        f"{report['machine']}; {report['sentences']} sentences, voices "
        f"{', '.join(report['voices'])}; Kokoro's plan is late by {report['plan_late_ms']:.0f} ms "
        f"(median of {report['onsets']} words behind a pause), which is taken off."
    ]
    for name, part in report["parts"].items():
        lines += [
            f"\n{name} ({part['words']} words):\n",
            "| word starts | mean | median | p95 | cut right | one word off |",
            "|---|---|---|---|---|---|",
        ]
        for way in filter(part["ways"].get, WAYS):
            row = part["ways"][way]
            cells = [f"{row[key]:.0f} ms" if key in row else "" for key in _TIMES]
            cells += [f"{100 * row[key]:.1f} %" if key in row else "" for key in _SHARES]
            lines.append(f"| {way} | {' | '.join(cells)} |")
        after = part["announced_after_ms"]
        lines += [
            "\nWhile streaming, a start is as it was announced, and a cut falls where no more was "
            f"made than heard. A word is announced {after['mean']:.0f} ms after it began (p95 "
            f"{after['p95']:.0f} ms). A frame takes {part['frame_ms']:.2f} ms, the end "
            f"{part['finish_ms']:.1f} ms."
        ]
        if part["whisper_heard"]:
            lines.append(f"Whisper heard {part['whisper_heard']} words as they are written.")
    return "\n".join(lines)
