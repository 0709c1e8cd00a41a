"""What is said: a caller and an agent, turn by turn, as `csm-agent say --file` reads dialogues."""

from dataclasses import dataclass
from pathlib import Path

from pipecat_csm.script import parse_script

_SCRIPT = Path(__file__).parent / "conversation.txt"


@dataclass(frozen=True)
class Turn:
    """One exchange.

    Attributes:
        asked: The caller's words.
        answered: Those of the voice that is evaluated.
    """

    asked: str
    answered: str


def turns() -> list[Turn]:
    """The whole conversation."""
    lines = [line.text for line in parse_script(_SCRIPT.read_text(encoding="utf-8"))]
    return [Turn(*pair) for pair in zip(lines[::2], lines[1::2], strict=True)]
