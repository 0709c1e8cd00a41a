"""`python -m scripts.voice_evaluation`, from the repository's root; see --help."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from agent.log import quieten

quieten()  # Pipecat greets when it is imported

from pipecat_csm import CSMError  # noqa: E402
from pipecat_whisper import WhisperEngineError  # noqa: E402

from agent.config import ConfigError  # noqa: E402
from agent.embedded.kokoro import KokoroError  # noqa: E402
from agent.models import ModelError  # noqa: E402
from agent.persona import load_personas  # noqa: E402
from agent.persona_commands.folders import own_dir  # noqa: E402
from scripts.voice_evaluation.arguments import parse_args  # noqa: E402
from scripts.voice_evaluation.errors import EvaluationError  # noqa: E402

_EXPECTED = (CSMError, ConfigError, EvaluationError, KokoroError, ModelError, WhisperEngineError)
_EXTRA = ("distillmos", "tqdm", "whisper_normalizer")


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates a voice and prints what was found, or in one sentence what went wrong."""
    args = parse_args(argv)
    try:
        report = run(args)
    except _EXPECTED as error:
        return fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        return fail(f"This needs an extra: pip install 'csm-agent[evaluate]' ({error.name}).")
    except KeyboardInterrupt:
        return 130
    from scripts.voice_evaluation.tables import tables

    print(json.dumps(report, indent=1) if args.json else tables(report))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluates, and writes what --out asks for."""
    from scripts.voice_evaluation.about import about
    from scripts.voice_evaluation.evaluation import evaluate

    check_writable(args)
    own = own_dir(None)
    personas = load_personas(own if own.is_dir() else None)
    report = {"about": about(args), **evaluate(args, personas)}
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def check_writable(args: argparse.Namespace) -> None:
    """Sees to the places that will be written before the work begins, not when it is lost.

    Raises:
        EvaluationError: One cannot be written.
    """
    path = args.keep
    try:
        if args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
        if args.out is not None:
            path = args.out
            args.out.open("a").close()
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written: {error.strerror}.") from None


def fail(sentence: str) -> int:
    """Says what went wrong, and returns the exit code."""
    print(f"evaluate_voice: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
