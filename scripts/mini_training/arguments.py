"""The command line."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.mini_training.settings import SIZES

STAGES = {
    "data": (60.0, "speak sentences with the embedded voice, until the time is up"),
    "codec": (75.0, "teach a small Mimi to code that speech"),
    "encode": (0.0, "turn all of it into codes (takes what it takes)"),
    "speech": (180.0, "teach a small CSM to speak in those codes"),
    "export": (0.0, "write the checkpoint that transformers and load_csm_1b read"),
    "evaluate": (0.0, "listen to it, and print a table; speaks the held-out sentences if need be"),
}
"""Each stage with the minutes that it has by default, on two CPU cores, and what it does."""

ADOPT = "adopt"

_DESCRIPTION = """\
Trains csm-mini: a CSM of our own, from nothing, on speech that the embedded voice makes.

Every stage goes on where it was stopped, keeps all it has in --work, and appends what it finds to
report.jsonl there. --minutes is what a stage may take over all its runs: give more, and it goes on.

stages:
"""

_OTHERS = (
    "  all       one after the other",
    f"  {ADOPT:9} take codec and speech model out of --checkpoint, to learn on from there",
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads it; argparse ends the program where it makes no sense."""
    described = [
        f"  {name:9} {what}" + (f" [{minutes:.0f} min]" if minutes else "")
        for name, (minutes, what) in STAGES.items()
    ]
    parser = _parser("\n".join([*described, *_OTHERS]))
    args = parser.parse_args(argv)
    if args.text is not None and args.vocabulary == "closed":
        parser.error("--text is for the open vocabulary: leave --vocabulary closed away")
    if args.vocabulary is None:
        args.vocabulary = "closed" if args.text is None else "open"
    return args


def _parser(stages: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/train_mini",
        description=_DESCRIPTION + stages,
        epilog="Example: scripts/train_mini codec --minutes 45 --work /tmp/mini",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("stage", choices=(*STAGES, "all", ADOPT), metavar="STAGE", help="one of those above")
    add(
        "--work",
        type=Path,
        default=Path("build/mini"),
        metavar="DIR",
        help="where everything is kept (default build/mini)",
    )
    add(
        "--minutes",
        type=_positive,
        metavar="N",
        help="for this stage; with `all`, for each that takes minutes (default: as above)",
    )
    add("--size", choices=tuple(SIZES), default="small", help="of the models (default small)")
    add("--device", default="cpu", help="cpu or cuda: where codec and speech learn (default cpu)")
    add("--threads", type=_count(1), metavar="N", help="processor threads (default: torch's own)")
    add(
        "--seed", type=_count(0), default=0, metavar="N", help="the same makes the same (default 0)"
    )
    _add_data(parser)
    learning = parser.add_argument_group("codec and speech")
    learning.add_argument(
        "--listen",
        type=_count(0),
        default=8,
        metavar="N",
        help="held-out sentences that Whisper hears at every look; 0 needs no Whisper (default 8)",
    )
    learning.add_argument(
        "--check-minutes",
        type=_positive,
        default=5.0,
        metavar="N",
        help="from one look at what is held out to the next (default 5)",
    )
    learning.add_argument(
        "--rate",
        type=_rate,
        metavar="R",
        help="the highest learning rate (default: the size's; speech that was adopted wants 4e-4)",
    )
    learning.add_argument(
        "--shifts",
        type=_count(1),
        default=3,
        metavar="N",
        help="renderings of each utterance that encode makes (default 3)",
    )
    _add_results(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--vocabulary",
        choices=("closed", "open"),
        help="192 words in sentences that make some sense (default), or 16,000 that make none",
    )
    group.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="a plain text, in the public domain, whose sentences are to be spoken instead",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("export and evaluate")
    group.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="what is written, listened to or adopted (default: checkpoint, in --work); "
        "csm-mini is the one that ships",
    )
    group.add_argument(
        "--sentences",
        type=_count(1),
        default=40,
        metavar="N",
        help="that are spoken each way, of 180 that were held out (default 40)",
    )
    group.add_argument(
        "--after",
        type=_count(0),
        default=0,
        metavar="N",
        help="of those that were held out the first so many are not spoken (default 0)",
    )
    group.add_argument(
        "--whisper",
        action="append",
        metavar="MODEL",
        help="that listens, a name or the path of a folder; repeatable (default tiny.en)",
    )
    group.add_argument("--keep", type=Path, metavar="DIR", help="write some sentences there as WAV")
    group.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes")
    return value


def _rate(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 0.1:
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate, as 4e-4 is")
    return value


def _count(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not (text.isdecimal() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} on")
        return int(text)

    return count


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
