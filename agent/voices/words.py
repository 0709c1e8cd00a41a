"""What is said in a recording against what was heard in it, word by word."""

from dataclasses import dataclass
from functools import cached_property

from agent.embedded.speakable import speakable


@dataclass(frozen=True)
class Difference:
    """Some words of the text and what was heard in their place; either may be empty."""

    said: str
    heard: str

    def __str__(self) -> str:
        if not self.said:
            return f"'{self.heard}' is not in the text"
        if not self.heard:
            return f"'{self.said}' was not heard"
        return f"'{self.said}' was heard as '{self.heard}'"


@dataclass(frozen=True)
class Comparison:
    """A text and what was heard, both as spoken words: without case, marks and digits."""

    said: tuple[str, ...]
    heard: tuple[str, ...]

    @property
    def errors(self) -> int:
        """How many words are wrong, missing or too many."""
        return sum(said != heard for said, heard in self._aligned)

    @property
    def error_rate(self) -> float:
        """Word error rate: errors for each word of the text; it may pass 1."""
        return self.errors / max(1, len(self.said))

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Where the two part, in order; neighbours are one."""
        found: list[Difference] = []
        differed = False
        for said, heard in self._aligned:
            if said != heard:
                last = found.pop() if differed else Difference("", "")
                found.append(
                    Difference(f"{last.said} {said}".strip(), f"{last.heard} {heard}".strip())
                )
            differed = said != heard
        return tuple(found)

    @cached_property
    def _aligned(self) -> list[tuple[str, str]]:
        """Pairs of said and heard words with the fewest errors; "" where one has none."""
        rows = [list(range(len(self.heard) + 1))]
        for i, said in enumerate(self.said, 1):
            above, row = rows[-1], [i]
            for j, heard in enumerate(self.heard, 1):
                row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (said != heard)))
            rows.append(row)
        pairs: list[tuple[str, str]] = []
        i, j = len(self.said), len(self.heard)
        while i or j:
            here = rows[i][j]
            both = i and j and here == rows[i - 1][j - 1] + (self.said[i - 1] != self.heard[j - 1])
            step_i, step_j = (
                (1, 1) if both else (1, 0) if i and here == rows[i - 1][j] + 1 else (0, 1)
            )
            i, j = i - step_i, j - step_j
            pairs.append((self.said[i] if step_i else "", self.heard[j] if step_j else ""))
        return pairs[::-1]


def compare(said: str, heard: str) -> Comparison:
    """Compares a text with what was heard, by their sound: "25" and "twenty-five" are the same."""
    return Comparison(spoken_words(said), spoken_words(heard))


def spoken_words(text: str) -> tuple[str, ...]:
    """Lower-case words as they are said."""
    spoken = (word for token in text.split() for word in speakable(token, str.isalpha).words)
    return tuple(word.text.lower() for word in spoken)
