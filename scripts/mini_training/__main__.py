"""`python -m scripts.mini_training`, from the repository's root; see --help."""

import contextlib
import sys
from collections.abc import Sequence

# Pipecat greets when it is imported; on a machine that only learns it is not there.
with contextlib.suppress(ModuleNotFoundError):
    from agent.log import quieten

    quieten()

from scripts.mini_training.arguments import parse_args
from scripts.mini_training.errors import TrainingError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs stages; says in one sentence what went wrong, if something did."""
    args = parse_args(argv)
    # After the command line: torch takes seconds, and --help should not.
    from pipecat_csm import CSMError

    from scripts.mini_training.stages import Stages

    try:
        Stages(args).run(args.stage)
    except (CSMError, TrainingError) as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("stopped; the same command goes on, from the last minute or shard.")
    except Exception as error:
        if type(error).__name__ not in ("ModelError", "KokoroError", "WhisperEngineError"):
            raise
        return fail(str(error))
    return 0


def fail(sentence: str) -> int:
    """Says what went wrong, and returns the exit code."""
    print(f"train_mini: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
