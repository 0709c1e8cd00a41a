"""`csm-agent persona`: list, add, check, preview and remove the characters that callers can choose.

Each command imports what it needs when it runs.
"""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

_EXAMPLE = (
    "Example: csm-agent persona add nora --audio nora1.wav --audio nora2.wav --consent 'I am Nora; "
    "I recorded this for my own agent.' --licence 'For my own use only.'"
)


def add_parser(commands: Any) -> None:
    """Adds `persona`; the chosen action is `args.run(args)`, which returns the exit code."""
    persona = commands.add_parser("persona", help="the characters that callers can choose")
    actions = persona.add_subparsers(required=True, metavar="ACTION")
    _add_list(actions)
    _add_add(actions)
    _add_check(actions)
    _add_preview(actions)
    _add_remove(actions)


def _action(actions: Any, name: str, help_: str, **texts: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_, **texts)
    parser.add_argument(
        "--dir",
        "--personas-dir",
        dest="dir",
        type=Path,
        help="the folder of your personas (default: that of CSM_AGENT__PERSONAS_DIR, else "
        "~/.config/csm-agent/personas, which `serve` reads too)",
    )
    parser.set_defaults(run=lambda args: _run(name, args))
    return parser


def _run(action: str, args: argparse.Namespace) -> int:
    from agent.log import quieten

    quieten()  # first: Pipecat greets when it is imported
    return import_module(f"{__name__}.{action}").run(args)


def _add_list(actions: Any) -> None:
    _action(actions, "list", "name every persona with its voice")


def _add_add(actions: Any) -> None:
    add = _action(
        actions,
        "add",
        "make a persona that speaks with the voice of recordings",
        description="Makes a persona of one or more recordings of a voice, 3 to 30 s each, best 10 "
        "to 20 s of one person in a quiet room. Says what it finds and what it does, asks for what "
        "it needs to know, and writes the folder only when all is well.",
        epilog=_EXAMPLE,
    )
    add.add_argument("name", metavar="NAME", help="lower-case letters, digits, - and _")
    add.add_argument(
        "--audio",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="a recording: WAV, FLAC, MP3, OGG, M4A; repeatable",
    )
    add.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="TEXT",
        help="what is said in it, one for each; without, Whisper listens, and you may correct it",
    )
    add.add_argument("--consent", help="whose voice it is, and how that person agreed")
    add.add_argument(
        "--licence", "--license", dest="licence", help="under which terms it may be used"
    )
    add.add_argument("--display-name", metavar="TEXT", help="as callers see it (default: Name)")
    add.add_argument("--description", default="", metavar="TEXT", help="one line for the page")
    add.add_argument("--prompt", metavar="TEXT", help="who it is and how it speaks: 'You are ...'")
    add.add_argument("--greeting", metavar="TEXT", help="what it says first")
    add.add_argument(
        "--fallback-voice",
        metavar="VOICE",
        help="Kokoro's voice for machines without CSM (default: the nearest)",
    )
    add.add_argument("--stt", default="tiny.en", metavar="MODEL", help="Whisper (default tiny.en)")
    add.add_argument("--yes", action="store_true", help="take what Whisper heard as it is")
    add.add_argument("--force", action="store_true", help="replace yours of that name, whole")


def _add_check(actions: Any) -> None:
    check = _action(
        actions,
        "check",
        "look at a persona and listen to its recordings",
        description="Checks the file, and every recording as `add` does. Exits with 1 if something "
        "is refused.",
    )
    check.add_argument("name", metavar="NAME|PATH", help="a persona's name, folder or file")
    check.add_argument(
        "--stt", default="tiny.en", metavar="MODEL", help="Whisper (default tiny.en)"
    )


def _add_preview(actions: Any) -> None:
    preview = _action(
        actions,
        "preview",
        "hear a persona speak a line",
        description="Speaks a line as a persona: with CSM and its recordings where --checkpoint "
        "names the model, else with its fallback voice.",
    )
    preview.add_argument("name", metavar="NAME|PATH", help="a persona's name, folder or file")
    preview.add_argument("text", nargs="?", help="what to say (default: its greeting)")
    preview.add_argument(
        "--checkpoint",
        metavar="CSM",
        help="a folder, a Hugging Face id, as sesame/csm-1b, or csm-mini",
    )
    preview.add_argument("--device", help="for CSM: cuda, cpu, ...")
    preview.add_argument("--seed", type=int, help="for CSM: the same seed says the same again")
    preview.add_argument(
        "--out", type=Path, help="WAV file to write (default NAME.wav, unless --play); - is stdout"
    )
    preview.add_argument("--play", action="store_true", help="play it (needs sounddevice)")


def _add_remove(actions: Any) -> None:
    remove = _action(
        actions, "remove", "delete one of your personas, its recordings and its consent"
    )
    remove.add_argument("name", metavar="NAME", help="a persona of your folder")
    remove.add_argument("--yes", action="store_true", help="do not ask")
