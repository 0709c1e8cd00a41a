"""Text as CSM was taught to read it: plain, on one line, and in pieces that it can hold."""

import re
import unicodedata
from collections.abc import Iterator

from pipecat_csm.errors import TextError

MAX_TEXT_CHARS = 20_000

# English speech: about 15 characters a second.
CHARS_PER_S = 15.0

# What one reply may take of the window (250 frames of 80 ms) is 20 s, or 300 characters at the
# usual pace. A third is margin: slow speakers reach 10 a second, and CSM pauses and breathes.
MAX_PIECE_CHARS = 200

# Characters that are spoken as a word. "7" takes as long as "seven ", one of Han or Kana as a
# syllable or two.
_DIGIT_CHARS = 6
_SYMBOL_CHARS = 6
_IDEOGRAPH_CHARS = 4
_SPOKEN_SYMBOLS = frozenset("%$€£¥&@#+=*/°©®™§")
_FIRST_IDEOGRAPH = "\u2e80"

# Curly quotes and hyphens as a keyboard has them. Transcripts, of which CSM was taught, are mostly
# plain, and a rare token where a common one was heard is a risk without a gain.
_PLAIN = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2212", "-"),
    "\u2026": "...",
}
_PAUSE_DASHES = "\u2014\u2015\u2e3a\u2e3b"  # em dash, horizontal bar, two- and three-em dash
_EN_DASH = "\u2013"

# Pictures. Not every symbol: nobody says a thumb, but "25°", "№ 5" and "™" are spoken.
_PICTURES = (
    (0x2300, 0x23FF),  # technical: watch, hourglass, keys
    (0x25A0, 0x27BF),  # shapes, weather, chess, dingbats
    (0x2B00, 0x2BFF),  # arrows and stars
    (0x1F000, 0x1FAFF),  # emoji
    (0xFFFC, 0xFFFD),  # "an object was here", "a character was here"
)
_GONE = "\ufffd"

_STOPS = ".,;:!?"
_CLOSED_QUOTE = re.compile(rf"""["')\]]+(?=[ {_STOPS}]|$)""")
_DASH_RUN = re.compile(f"(?: ?[{_PAUSE_DASHES}{_EN_DASH}])+ ?")
_PICTURE_RUN = re.compile(f"(?: ?{_GONE})+ ?")

# Words whose full stop is their own; initials and dotted ones too (J, U.S, e.g, p.m), but not "I".
_ABBREVIATION = re.compile(
    r"(?i:adm|approx|apr|apt|assn|aug|ave|blvd|bros|capt|cf|cmdr|co|col|corp|dec|dept|dr|est|etc)"
    r"|(?i:feb|fig|ft|gen|gov|hon|inc|jan|jr|jul|jun|lt|ltd|maj|messrs|mme|mr|mrs|ms|mt|nov|oct)"
    r"|(?i:pp|pres|prof|pt|rd|rep|rev|sen|sep|sept|sgt|sq|sr|st|tel|univ|vol|vs)"
    r"|(?!I$)(?:\w\.)*\w"
)
# Each run is matched from its start only, or a thousand full stops would take a million steps.
_SENTENCE_END = re.compile(r"""(?<![.!?])[.!?]++["')\]]*+(?= )|[。！？]++[」』”]*+""")
_CLAUSE_END = re.compile(r"""(?<![,;:)])[,;:)]++["']*+(?= )| -(?= )|[、，；：]""")
_WORD_END = re.compile(r"(?= )")


def normalise(text: str) -> str:
    """The same words in plain characters, on one line.

    White space becomes single blanks; curly quotes, hyphens and the ellipsis become plain; a dash
    that stands for a pause becomes a comma (see `_dashes`); control characters, NUL, zero-width and
    direction marks, lone surrogates and emoji go. Letters and digits stay as they are, in NFC; case
    too. What is normal already does not change.

    Raises:
        TextError: Nothing that can be spoken is left, or it is longer than `MAX_TEXT_CHARS`.
    """
    if not isinstance(text, str):
        raise TextError(f"A text is a string, not {type(text).__name__}.")
    text = _bounded(" ".join(text.split()))  # first, so that what follows has a bound
    text = "".join(_plain(char) for char in unicodedata.normalize("NFC", text))
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    # A picture leaves a blank between words, and none before the full stop that follows it.
    text = _PICTURE_RUN.sub(lambda run: _between(text, run, " "), text)
    text = _bounded(_dashes(text).strip())
    if not _is_speakable(text):
        raise TextError("There is nothing to speak: the text holds no letter and no digit.")
    return text


def spoken_chars(text: str) -> int:
    """How long it takes to say, in characters of ordinary English text."""
    return sum(map(_char_cost, text))


def split(text: str, max_chars: int = MAX_PIECE_CHARS) -> list[str]:
    """A long text in pieces that CSM can hold, each as long as fits.

    It parts at the ends of sentences; where one is too long, at its clauses; where one of those is,
    between words; and within a word only if that alone is too long. What is left of a part without
    a letter or digit (a line of dots) is not spoken.

    Args:
        text: Normalised (see `normalise`).
        max_chars: The longest piece in `spoken_chars`, at least 8: a digit is a word.
    """
    if max_chars < 8:
        raise ValueError("max_chars must be at least 8")
    pieces: list[str] = []
    start, cost = 0, 0
    for unit_start, unit_end in _units(text, 0, len(text), max_chars, 0):
        unit_cost = spoken_chars(text[unit_start:unit_end])
        if cost + unit_cost > max_chars and cost:
            pieces.append(text[start:unit_start].strip())
            start, cost = unit_start, -text[unit_start].isspace()  # its blank is not spoken
        cost += unit_cost
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if _is_speakable(piece)]


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:
        raise TextError(
            f"The text has more than {MAX_TEXT_CHARS:,} characters; speak it in several parts."
        )
    return text


def _plain(char: str) -> str:
    if char in _PLAIN:
        return _PLAIN[char]
    if char.isascii():
        return char if char.isprintable() else ""
    category = unicodedata.category(char)
    if category[0] in "LN":
        return char
    if any(first <= ord(char) <= last for first, last in _PICTURES):
        return _GONE
    if category[0] == "C" or 0xFE00 <= ord(char) <= 0xFE0F or char == "\u20e3":
        return ""  # with a picture's variants and the key cap
    return char


def _dashes(text: str) -> str:
    """Dashes as commas where they are pauses, as hyphens where they join.

    A comma is how transcripts write such a pause; a lone hyphen may be read as "minus", or not
    at all. "Yes—no" and "yes – no" pause; "1939–45", "3—5" and "London–Paris" join.
    """

    def plain(run: re.Match[str]) -> str:
        before, after = _neighbours(text, run)
        if run[0] in _PAUSE_DASHES and before.isdigit() and after.isdigit():
            return "-"
        apart = (not before or run[0][0] == " ") and (not after or run[0][-1] == " ")
        if apart or any(dash in run[0] for dash in _PAUSE_DASHES):
            return _between(text, run, ", ")
        return run[0].replace(_EN_DASH, "-")

    return _DASH_RUN.sub(plain, text)


def _between(text: str, run: re.Match[str], words: str) -> str:
    """What stands for a run that goes: `words` between words, less beside other punctuation."""
    before, after = _neighbours(text, run)
    if not before or before in "([" or not after or after in _STOPS:
        return ""
    mark = " " if before in _STOPS else words
    return mark.rstrip() if _CLOSED_QUOTE.match(text, run.end()) else mark


def _neighbours(text: str, run: re.Match[str]) -> tuple[str, str]:
    """The characters before and after; empty at the ends."""
    start, end = run.span()
    return text[max(0, start - 1) : start], text[end : end + 1]


def _is_speakable(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def _char_cost(char: str) -> int:
    if char.isdigit():
        return _DIGIT_CHARS
    if char in _SPOKEN_SYMBOLS:
        return _SYMBOL_CHARS
    return _IDEOGRAPH_CHARS if char >= _FIRST_IDEOGRAPH else 1


def _units(
    text: str, start: int, end: int, max_chars: int, level: int
) -> Iterator[tuple[int, int]]:
    """Spans that fit, one after the other, that cover text[start:end]."""
    if spoken_chars(text[start:end].strip()) <= max_chars:
        yield start, end
        return
    if level == 3:
        yield from _chunks(text, start, end, max_chars)
        return
    for boundary in [*_boundaries(text, start, end, level), end]:
        yield from _units(text, start, boundary, max_chars, level + 1)
        start = boundary


def _boundaries(text: str, start: int, end: int, level: int) -> Iterator[int]:
    pattern = (_SENTENCE_END, _CLAUSE_END, _WORD_END)[level]
    for found in pattern.finditer(text, start, end):
        # The first word of a unit has its blank before it.
        if start < found.end() < end and not (level == 0 and _is_abbreviation(text, found)):
            yield found.end()


def _is_abbreviation(text: str, end: re.Match[str]) -> bool:
    """Whether the full stop belongs to its word, as in "Dr. Who", "the U.S. Army", "p. 7"."""
    if end[0] != ".":
        return False
    word = text[text.rfind(" ", 0, end.start()) + 1 : end.start()].lstrip("\"'([")
    if word.isdigit():
        return len(word) < 3  # "2. Stir", but "in 1984. Then"
    return bool(_ABBREVIATION.fullmatch(word))


def _chunks(text: str, start: int, end: int, max_chars: int) -> Iterator[tuple[int, int]]:
    cost = 0
    for i in range(start, end):
        cost += _char_cost(text[i])
        if cost > max_chars:
            yield start, i
            start, cost = i, _char_cost(text[i])
    yield start, end
