"""Sentences of a closed vocabulary, from rules that are data: see closed_grammar.txt.

A grammar rather than a list, because a model that has seen each sentence a hundred times learns
the sentence; of these there are far more than can ever be spoken, so that nearly every one is new,
while each of its words comes thousands of times.
"""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

CLOSED = Path(__file__).parent / "closed_grammar.txt"

_NAME = re.compile(r"<(\w+)>")
_WORD = re.compile(r"[a-z']+")


class Sentences(Protocol):
    """Somewhere sentences come from."""

    def sentence(self, rng: random.Random) -> str:
        """One of them, as it is written."""
        ...


class Grammar:
    """Rules without context, each with alternatives that are as likely as each other."""

    def __init__(self, rules: Mapping[str, list[str]]) -> None:
        """Takes rules by name; "sentence" is where it begins.

        Raises:
            ValueError: A rule names another that there is not.
        """
        self._rules = {name: list(alternatives) for name, alternatives in rules.items()}
        for name, alternatives in self._rules.items():
            for missing in set(_NAME.findall(" ".join(alternatives))) - set(self._rules):
                raise ValueError(f"The rule {name!r} names {missing!r}, which is no rule.")

    @classmethod
    def closed(cls) -> "Grammar":
        """The grammar of the closed vocabulary."""
        return cls(parse(CLOSED.read_text("utf-8")))

    @property
    def vocabulary(self) -> frozenset[str]:
        """Every word that can come, in lower case."""
        written = " ".join(" ".join(alternatives) for alternatives in self._rules.values())
        return frozenset(_WORD.findall(_NAME.sub(" ", written).lower()))

    def sentence(self, rng: random.Random) -> str:
        """One sentence, beginning with a capital."""
        text = self._expand("sentence", rng)
        return text[0].upper() + text[1:]

    def _expand(self, name: str, rng: random.Random) -> str:
        return _NAME.sub(lambda found: self._expand(found[1], rng), rng.choice(self._rules[name]))


def parse(text: str) -> dict[str, list[str]]:
    """Rules as they are written in the file; the same name again adds alternatives."""
    rules: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, alternatives = line.partition("=")
        if equals and not line.startswith("#"):
            rules.setdefault(name.strip(), []).extend(
                alternative.strip() for alternative in alternatives.split("|")
            )
    return rules
