"""Where a text that is still being written may be parted for speech.

A place is decided by what stands before it and by the little that follows, never by how the text
arrived. In doubt a sentence goes on: a piece too long costs a moment, a cut inside "Dr. Smith" or
"March 3, 2024" is heard.
"""

import re

# What may change the decision: an opening mark, the end of a sentence that needs no blank, blanks.
_EVENT = re.compile(r"""["'“„«‘「『（(\[{]|[。！？]+[」』”）]*|\s+""")
_CLOSING = {
    "“": "”", "„": "“”", "«": "»", "‘": "’", "「": "」", "『": "』", "（": "）",
    "(": ")", "[": "]", "{": "}", '"': '"', "'": "'",
}  # fmt: skip
_APOSTROPHES = "\"'‘"  # whose closing marks may stand within words: don’t, 6"2
# Apostrophes at the beginning of a word, which open nothing.
_ELISION = re.compile(r"""['‘](?:\d|(?:tis|twas|em|til|till|cause|bout|round|n)\b)""", re.I)
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n")
_LIST_ITEM = re.compile(r"[-*•–—#\d]")

_DRESS = r"""["'”’»)\]}」』）*_]*"""
_SENTENCE_END = re.compile(rf"(?P<word>\S*?)(?P<marks>[.!?…]+)(?P<dress>{_DRESS})$")
# Not behind a word with a digit: "3," may be in a date, which is only spoken right as a whole.
_CLAUSE_END = re.compile(rf"""\D*[^\W\d_]{_DRESS}(?:[,;:]|…|\.\.+){_DRESS}""")
_MONTH = re.compile(
    r"(?i:january|february|march|april|may|june|july|august|september|october|november|december),$"
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_BEFORE_AND = re.compile(r"(?i:.*\d.*|hundred|thousand|[mb]illion|dollars|euros|pounds)")
_CONJUNCTIONS = frozenset(
    {"although", "and", "because", "but", "since", "so", "then", "though", "unless", "until"}
    | {"when", "where", "whereas", "which", "while", "who"}
)

# Full stops that are their words' own. What stands before a name or a number ends no sentence.
_TITLE = re.compile(
    r"(?i:adm|approx|capt|cf|cmdr|col|dr|fig|gen|gov|hon|lt|maj|messrs|mme|mr|mrs|ms|mt|pp?|pres)"
    r"|(?i:prof|rep|rev|sen|sgt|st|univ|vol|vs|e\.g|i\.e)"
)
_NUMBERED = re.compile(r"(?i:art|ch|eq|ext|no|nos|nr|op|sec|tel)")  # "No. 5", but "Oh no. Really?"
# Others may: "until 5 p.m. We close then".
_ABBREVIATION = re.compile(
    r"(?i:apr|apt|assn|aug|ave|blvd|bros|co|corp|dec|dept|est|etc|feb|ft|inc|jan|jr|jul|jun|ltd)"
    r"|(?i:nov|oct|pt|rd|sept?|sq|sr|(?:[^\W\d_]\.)*[^\W\d_]|ph\.d)"
)
_STARTERS = frozenset(
    {"a", "an", "and", "are", "as", "at", "but", "can", "could", "did", "do", "does", "for"}
    | {"have", "he", "here", "how", "however", "i", "i'll", "i'm", "if", "in", "is", "it"}
    | {"it's", "its", "let", "let's", "my", "no", "now", "of", "on", "or", "our", "please"}
    | {"she", "so", "some", "that", "that's", "the", "then", "there", "there's", "these", "they"}
    | {"they're", "this", "those", "to", "was", "we", "we'll", "we're", "were", "what", "when"}
    | {"where", "which", "who", "why", "would", "yes", "you", "you'll", "you're", "your"}
)


class Cutter:
    """Parts a text as it is written: first a clause, if it comes to that, and then sentences."""

    def __init__(self, *, least_words: int, most_words: int | None, longest_quote: int) -> None:
        """Begins a text; see `FirstClauseAggregator` for the arguments."""
        self._least_words = least_words
        self._most_words = most_words
        self._longest_quote = longest_quote
        self.text = ""
        """What was written and is in no piece yet."""
        self._decided = 0  # up to here there is no cut
        self._is_first = True

    def feed(self, text: str) -> list[str]:
        """Takes what was written next; returns the pieces that this completes, often none."""
        self.text += text
        pieces: list[str] = []
        while (cut := self._next_cut()) is not None:
            pieces.append(self.text[:cut].strip())
            self.text = self.text[cut:].lstrip()
            self._decided, self._is_first = 0, False
        return [piece for piece in pieces if piece]

    def _next_cut(self) -> int | None:
        """Where the next piece ends, if that can be told yet."""
        while event := _EVENT.search(self.text, self._decided):
            start, end = event.span()
            mark = self.text[start]
            if mark in _CLOSING:
                after = self._after_quote(start)
            elif end == len(self.text):
                return None  # there may be more of it
            else:
                is_cut = self._is_cut(start, end) if mark.isspace() else self._has_word(end)
                if is_cut:
                    return start if mark.isspace() else end
                after = None if is_cut is None else end
            if after is None:
                return None
            self._decided = after
        return None

    def _after_quote(self, start: int) -> int | None:
        """Where to look on from an opening mark: behind what it opens, or behind itself.

        None while neither is certain. A mark that is not closed soon, or not in its paragraph, was
        an inch, a smile or an accident.
        """
        text, mark = self.text, self.text[start]
        before = text[start - 1] if start else " "
        if mark in "\"'" and not (before.isspace() or before in "([{“‘—–-*_"):
            return start + 1
        if mark in "'‘" and len(text) - start < len("'cause "):
            return None
        if mark in "'‘" and _ELISION.match(text, start):
            return start + 1
        limit = start + self._longest_quote
        paragraph = _PARAGRAPH.search(text, start, limit)
        limit = paragraph.start() if paragraph else limit
        depth = 1
        for i in range(start + 1, min(len(text), limit)):
            if text[i] in _CLOSING[mark] and self._closes(mark, i):
                if i + 1 == len(text) and mark in _APOSTROPHES:
                    return None
                depth -= 1
                if not depth:
                    return i + 1
            elif text[i] == mark and mark in "([{（「『":
                depth += 1
        return start + 1 if len(text) >= limit else None

    def _closes(self, mark: str, i: int) -> bool:
        if mark not in _APOSTROPHES:
            return True
        # An apostrophe has a letter behind it.
        is_last = not self.text[i + 1 : i + 2].isalnum()
        return is_last and not self.text[i - 1].isspace()

    def _is_cut(self, start: int, end: int) -> bool | None:
        """Whether the blanks from start to end part two pieces; None if that needs more text."""
        text = self.text
        space, following = text[start:end], text[end]
        if not self._has_word(start):
            return False
        word = text[max(0, start - 40) : start].split()[-1]
        if "\n" in space and (space.count("\n") > 1 or _LIST_ITEM.match(following)):
            return True
        ends = self._ends_sentence(word, start, end)
        if ends is not False or not self._is_first:
            return ends
        return self._ends_clause(word, start, end)

    def _ends_sentence(self, word: str, start: int, end: int) -> bool | None:
        found = _SENTENCE_END.search(word)
        following = self.text[end]
        if not found or (following.islower() and (found["dress"] or found["marks"][-1] in ".…")):
            return False
        if found["marks"] != ".":
            return True
        bare = found["word"].lstrip("\"'“„«‘([{*_")
        if bare.isdigit() and len(bare) < 4 and self._begins_line(start - len(word)):
            return False  # "2. Stir"
        if _TITLE.fullmatch(bare):
            return False
        if _NUMBERED.fullmatch(bare):
            return not following.isdigit()
        if not _ABBREVIATION.fullmatch(bare):
            return True
        next_word = self._next_word(end)
        return None if next_word is None else next_word in _STARTERS

    def _ends_clause(self, word: str, start: int, end: int) -> bool | None:
        words = sum(1 for token in self.text[:start].split() if _WORD.search(token))
        if _CLAUSE_END.fullmatch(word) and words >= self._least_words:
            return not (_MONTH.search(word) and self.text[end].isdigit())
        if self._most_words is None or words < self._most_words or _BEFORE_AND.fullmatch(word):
            return False
        next_word = self._next_word(end)
        return None if next_word is None else next_word in _CONJUNCTIONS

    def _has_word(self, end: int) -> bool:
        return _WORD.search(self.text, 0, end) is not None

    def _begins_line(self, at: int) -> bool:
        before = self.text[:at].rstrip(" \t*_")
        return not before or before[-1] == "\n"

    def _next_word(self, at: int) -> str | None:
        """The word there in lower case, empty if there is none; None if it may go on."""
        word = _WORD.match(self.text, at)
        if word is None:
            return ""
        rest = self.text[word.end() : word.end() + 2]
        if not rest or (rest in ("'", "’")):
            return None
        return word[0].lower().replace("’", "'")
