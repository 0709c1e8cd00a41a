"""`python -m scripts.word_times_bench`, from the repository's root; see --help."""

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pipecat_csm.services.alignment import Table

from scripts.word_times_bench.fit import fit
from scripts.word_times_bench.measure import load_whisper, measure
from scripts.word_times_bench.speech import (
    VOICES,
    Spoken,
    keep,
    kept,
    label_delays,
    sentences,
    speak,
)
from scripts.word_times_bench.tables import figures, tables


def main() -> int:
    """Runs the bench and prints tables, or JSON."""
    args = parse_args()
    if args.fit:
        print(fitted(args))
        return 0
    report = run(args)
    print(json.dumps(report, indent=1) if args.json else tables(report))
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_word_times",
        description="Has Kokoro speak sentences, whose word times it plans itself, and compares "
        "them with those that pipecat_csm estimates from the text and the sound. Half of the "
        "sentences were never tuned with. No pass mark.",
    )
    add = parser.add_argument
    add("--voices", nargs="+", default=VOICES, help=f"of Kokoro's (default {' '.join(VOICES)})")
    add("--sentences", type=int, metavar="N", help="only the first so many (default all)")
    add("--no-whisper", action="store_true", help="without Whisper tiny.en beside it")
    add("--speech", type=Path, metavar="FILE", help="keep the speech there, and find it there")
    add("--fit", action="store_true", help="fit the table of sounds anew, and print that instead")
    add("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


def speech(args: argparse.Namespace) -> tuple[list[Spoken], list[float]]:
    """What is said, and by how much its plan is late where that can be seen."""
    if args.speech is not None and args.speech.exists():
        spoken = kept(args.speech)
    else:
        spoken = speak(args.voices, sentences()[: args.sentences], say)
        if args.speech is not None:
            keep(args.speech, spoken)
    return spoken, label_delays(spoken)


def fitted(args: argparse.Namespace) -> Table:
    """The table for `pipecat_csm.services.alignment`."""
    spoken, delays = speech(args)
    return fit([one for one in spoken if one.tuned], float(np.median(delays)))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Speaks and measures."""
    spoken, delays = speech(args)
    delay_s = float(np.median(delays)) if delays else 0.0
    engine = None if args.no_whisper else load_whisper()
    parts = {
        name: figures(measure(some, delay_s, engine))
        for name, some in (
            ("held out", [one for one in spoken if not one.tuned]),
            ("tuned with", [one for one in spoken if one.tuned]),
        )
        if some
    }
    if engine is not None:
        engine.close()
    return {
        "machine": machine(),
        "voices": sorted({one.voice for one in spoken}),
        "sentences": len(spoken),
        "seconds": round(sum(one.duration_s for one in spoken), 1),
        "plan_late_ms": round(1e3 * delay_s, 1),
        "onsets": len(delays),
        "parts": parts,
    }


def machine() -> str:
    """What the times of the estimate itself were taken on; the errors depend on no machine."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores of {processor}, Python {platform.python_version()}"


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
