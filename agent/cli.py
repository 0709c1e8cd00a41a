"""csm-agent: the command line. Every command imports what it needs when it runs."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent import __version__
from agent.config import ConfigError, load_settings, parse_value
from agent.models import ModelError
from agent.models.commands import add_parser as add_models_parser
from agent.persona_commands import add_parser as add_persona_parser
from agent.say import add_parser as add_say_parser
from agent.settings import Settings

# The module that is missing tells the extra that brings it.
_EXTRA_OF = {
    "fastapi": "agent",
    "uvicorn": "agent",
    "faster_whisper": "agent",
    "huggingface_hub": "agent",
    "prometheus_client": "agent",
    "aiortc": "agent",
    "onnxruntime": "embedded",
    "gruut": "embedded",
    "num2words": "embedded",
    "xllamacpp": "embedded",
    "torch": "csm",
    "torchaudio": "csm",
    "transformers": "csm",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; expected failures are one sentence."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args)
    except (ConfigError, ModelError) as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        return _fail(f"This needs an extra: pip install 'csm-agent[{extra}]' ({error.name}).")
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, so that tests and docs can read it."""
    parser = argparse.ArgumentParser(
        prog="csm-agent",
        description="A voice agent that you talk to, in a browser or over a phone.",
        epilog="Start with: csm-agent serve",
    )
    parser.add_argument("--version", action="version", version=f"csm-agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    add_say_parser(commands)
    _add_doctor(commands)
    add_persona_parser(commands)
    add_models_parser(commands)
    return parser


def settings_from(args: argparse.Namespace) -> tuple[Settings, str]:
    """The settings that the command line names, and one line on the profile chosen."""
    overrides: dict[str, Any] = {}
    for name in ("host", "port", "max_sessions", "ssl_certfile", "ssl_keyfile"):
        value = getattr(args, name, None)
        if value is not None:
            overrides[f"server.{name}"] = value
    if getattr(args, "persona", None):
        overrides["persona"] = args.persona
    for assignment in getattr(args, "set", None) or []:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set wants NAME=VALUE, such as stt.model=base.en, not {name!r}.")
        overrides[name] = parse_value(name, text)
    profile, line = args.profile, f"Profile {args.profile}."
    if profile == "auto":
        from agent.machine import choose_profile, probe

        choice = choose_profile(probe())
        profile, line = choice.profile, f"Profile {choice.profile}, picked for {choice.reason}."
    return load_settings(profile, overrides=overrides), line


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="start the agent and its page",
        description="Starts the agent. Open the address that it prints, and talk.",
        epilog=(
            "Any setting can also come from the environment: CSM_AGENT__STT__MODEL=base.en. "
            "configs/example.yaml shows them all."
        ),
    )
    _add_profile(serve)
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on; 0 picks one (default 7860)")
    serve.add_argument("--max-sessions", type=int, help="conversations at once (default 4)")
    serve.add_argument("--persona", help="who answers when the caller does not choose")
    serve.add_argument("--ssl-certfile", type=Path, help="certificate, to serve HTTPS")
    serve.add_argument("--ssl-keyfile", type=Path, help="the certificate's key")
    serve.add_argument("--verbose", action="store_true", help="log every frame and word")
    serve.set_defaults(run=_serve)


def _add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", default="auto", help="a name in configs/, or a YAML file (default: auto)"
    )
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="change one setting; repeatable"
    )


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say what is installed and what is missing",
        description="Says what is installed, what `auto` would pick and why, and what mends it. "
        "Exits with 1 if `serve` could not start.",
    )
    _add_profile(doctor)
    doctor.add_argument(
        "--checkpoint",
        metavar="CSM",
        help="instead: compare this CSM (a folder, a Hugging Face id, csm-mini) with transformers' "
        "own, and have Whisper hear it",
    )
    doctor.add_argument("--device", help="for --checkpoint: cuda, cpu, ...")
    doctor.set_defaults(run=_doctor)


def _serve(args: argparse.Namespace) -> int:
    from agent.log import set_up_logging

    set_up_logging(verbose=args.verbose)
    settings, line = settings_from(args)
    from loguru import logger

    from agent.serving import CannotServe, serve

    logger.info(line)
    try:
        asyncio.run(serve(settings))
    except CannotServe as error:
        return _fail(str(error))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    if args.checkpoint:
        from agent.doctor_csm import examine_checkpoint

        return examine_checkpoint(args.checkpoint, args.device)
    from agent.doctor import examine

    settings, line = settings_from(args)
    return examine(settings, line)


def _fail(sentence: str) -> int:
    print(f"csm-agent: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
