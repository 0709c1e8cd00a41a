"""Questions to a person at a terminal."""

import sys

from agent.config import ConfigError


def can_ask() -> bool:
    """Whether somebody sits there."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def ask(question: str, *, text: str = "") -> str:
    """Asks, and returns the answer without blanks at its ends.

    Args:
        question: Ends in what the answer stands behind, as "Your name: ".
        text: Stands there already, to be changed.

    Raises:
        ConfigError: The person ended the conversation (Ctrl-D).
    """
    try:
        if text:
            _prefill(text)
        return input(question).strip()
    except EOFError:
        print()
        raise ConfigError("Stopped; nothing was written.") from None
    finally:
        if text:
            _prefill(None)


def ask_until_said(question: str) -> str:
    """Asks until something is said."""
    while True:
        if answer := ask(question):
            return answer


def _prefill(text: str | None) -> None:
    # Importing readline is what lets `input` edit a line at all.
    import readline

    readline.set_startup_hook(None if text is None else lambda: readline.insert_text(text))
