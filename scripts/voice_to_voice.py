"""Voice-to-voice latency, measured at a client of the real server; run by bench_voice_to_voice."""

import argparse
import asyncio
import json
import platform
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent.latency import STAGES  # noqa: E402
from tests.caller import Caller, first_audible_at, load_speech, underruns  # noqa: E402
from tests.live_server import LiveServer  # noqa: E402
from tests.scripted_llm import ScriptedLLM  # noqa: E402

_ANSWER_S = 60


def main() -> int:
    """Runs the bench and prints a table, or JSON."""
    args = parse_args()
    if args.scripted_llm:
        with ScriptedLLM(reply=lambda _: "Certainly. Here is a short answer to that.") as llm:
            turns = bench(args, LLM__PROVIDER="openai", LLM__BASE_URL=llm.url)
    else:
        turns = bench(args)
    report = summarise(turns)
    if args.json:
        print(json.dumps({"machine": machine(), "turns": turns, "summary": report}, indent=2))
    else:
        print_table(report, len(turns))
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_voice_to_voice",
        description="Speaks recordings to the real server over its websocket and measures, at the "
        "client, from the last voiced sample sent to the first audible sample received. The "
        "stages are the server's own account of the same time. No pass mark.",
    )
    parser.add_argument("--turns", type=int, default=20, help="turns to measure (default 20)")
    parser.add_argument("--persona", default="ada", help="who answers (default ada)")
    parser.add_argument(
        "--scripted-llm", action="store_true", help="an instant language model, to see the rest"
    )
    parser.add_argument(
        "--audio",
        type=Path,
        nargs="+",
        default=[ROOT / "tests" / "data" / name for name in ("question.flac", "remark.flac")],
        help="recordings to speak, in turn (default: those of the tests)",
    )
    parser.add_argument("--json", action="store_true", help="print every turn as JSON")
    return parser.parse_args()


def bench(args: argparse.Namespace, **environ: str) -> list[dict[str, float]]:
    """Runs every turn in one conversation; the first, which warms nothing up, counts too."""
    with LiveServer(**environ) as server:
        return asyncio.run(converse(f"{server.ws_url}?persona={args.persona}", args))


async def converse(url: str, args: argparse.Namespace) -> list[dict[str, float]]:
    """Speaks each recording, waits for the whole answer, and measures."""
    clips = [load_speech(path) for path in args.audio]
    turns: list[dict[str, float]] = []
    async with Caller(url) as caller:
        await caller.message("bot-stopped-speaking", within_s=_ANSWER_S)
        for i in range(args.turns):
            spoken_at = await caller.say(clips[i % len(clips)])
            latency = await caller.wait(
                lambda since=spoken_at: next(
                    (
                        m.data
                        for m in caller.messages
                        if m.type == "server-message"
                        and m.data.get("type") == "latency"
                        and m.at > since
                    ),
                    None,
                ),
                _ANSWER_S,
                "the server's latency message",
            )
            await caller.message("bot-stopped-speaking", after=spoken_at, within_s=_ANSWER_S)
            heard_at = first_audible_at(caller.heard, spoken_at)
            assert heard_at is not None, "the agent stopped speaking without a sound"
            turn = {stage["key"]: stage["ms"] for stage in latency["stages"]}
            turn["end to end"] = (heard_at - spoken_at) * 1000
            turn["underruns"] = underruns([h for h in caller.heard if h.at > spoken_at])
            turns.append(turn)
            print(f"\rturn {i + 1}/{args.turns}", end="", file=sys.stderr, flush=True)
            await asyncio.sleep(0.5)
    print(file=sys.stderr)
    return turns


def summarise(turns: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Percentiles of each stage, in milliseconds, and the underruns in all."""
    report = {}
    for key in (*STAGES, "end to end"):
        values = [turn[key] for turn in turns if key in turn]
        p50, p95 = np.percentile(values, [50, 95])
        report[key] = {"p50_ms": round(float(p50)), "p95_ms": round(float(p95))}
    report["underruns"] = {"count": int(sum(turn["underruns"] for turn in turns))}
    return report


def machine() -> str:
    """The hardware that the figures belong to."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = f"{len(names)} x {names[0].split(':')[1].strip()}" if names else model
    return f"{model}, {platform.system()}, Python {platform.python_version()}"


def print_table(report: dict[str, dict[str, float]], turns: int) -> None:
    """The figures as a Markdown table, ready for docs/benchmarks.md."""
    print(f"{machine()}; {turns} turns\n")
    print("| stage | p50 | p95 |\n|---|---|---|")
    for key in (*STAGES, "end to end"):
        row = report[key]
        print(f"| {key.replace('_', ' ')} | {row['p50_ms']:.0f} ms | {row['p95_ms']:.0f} ms |")
    print(f"\nunderruns: {report['underruns']['count']}")


if __name__ == "__main__":
    sys.exit(main())
