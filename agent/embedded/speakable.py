"""Turns a written token into the plain words a voice says for it.

Text that reaches the voice has normally been made speakable already (numbers, dates and
currencies as words). This is the net below: whatever is left is said in a sensible way or
dropped, and never stops the voice.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from num2words import num2words

PUNCTUATION = ';:,.!?—…"()“”'
"""The punctuation that Kokoro was trained on; it shapes pauses and intonation."""

_ABBREVIATIONS = {
    "mr.": "mister",
    "mrs.": "missus",
    "ms.": "miz",
    "dr.": "doctor",
    "prof.": "professor",
    "st.": "saint",
    "jr.": "junior",
    "sr.": "senior",
    "vs.": "versus",
    "etc.": "et cetera",
    "e.g.": "for example",
    "i.e.": "that is",
    "approx.": "approximately",
    "dept.": "department",
}
_SYMBOLS = {
    "&": "and",
    "%": "percent",
    "@": "at",
    "+": "plus",
    "=": "equals",
    "°": "degrees",
    "#": "number",
    "$": "dollars",
    "£": "pounds",
    "€": "euros",
}
# All-caps tokens that are also words of the lexicon, but are read letter by letter.
_SPELLED = {"ai", "am", "id", "pm", "tv", "us"}
_LONGEST_INITIALISM = 5
_LONGEST_NUMBER = 15

_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_PIECE = re.compile(
    r"(?P<time>\d{1,2}:[0-5]\d(?!\d))"
    r"|(?P<ordinal>\d+(?:st|nd|rd|th)(?![a-z]))"
    r"|(?P<decade>\d{2,3}0s(?![a-z]))"
    rf"|(?P<money>[$£€]{_NUMBER})"
    rf"|(?P<number>{_NUMBER})"
    r"|(?P<dotted>(?:[A-Z]\.){2,}[A-Z]?(?![A-Za-z])|(?:[A-Z]\.)+[A-Z](?![A-Za-z]))"
    r"|(?P<letters>[A-Za-z]+(?:'[A-Za-z]+)*'?)"
    r"|(?P<symbol>[&%@+=°#$£€])"
    r"|(?P<dot>\.(?=[A-Za-z]))",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z']+|[A-Z]+")


@dataclass(frozen=True)
class Spoken:
    """One word to look up: ``text`` as written, or a ``letter`` said by its name."""

    text: str
    letter: bool = False


@dataclass(frozen=True)
class Speakable:
    """What is said for one token, and the punctuation kept on either side of it."""

    before: str
    words: tuple[Spoken, ...]
    after: str


def speakable(token: str, known: Callable[[str], bool]) -> Speakable:
    """Find what to say for a whitespace-delimited token.

    Args:
        token: Anything at all: a word, a number, an e-mail address, an emoji, a NUL.
        known: Whether a lower-case word is in the pronunciation lexicon.

    Returns:
        The words, none if there is nothing to say, and the surrounding punctuation.
    """
    text = _plain(token)
    abbreviation = _ABBREVIATIONS.get(text.lower().rstrip(",;:!?"))
    if abbreviation is not None:
        after = text[len(text.rstrip(",;:!?")) :]
        return Speakable("", tuple(Spoken(word) for word in abbreviation.split()), after)
    core = text.strip(PUNCTUATION + "'-")
    start = text.find(core) if core else len(text)
    before, after = text[:start], text[start + len(core) :]
    if not core:
        before, after = "", text
    # Quotation marks and brackets may open a word; anything else before it is a stray.
    return Speakable(
        "".join(mark for mark in before if mark in '"(“'),
        tuple(_words(core, known)),
        "".join(mark for mark in after if mark in PUNCTUATION),
    )


def _plain(token: str) -> str:
    """Drop accents, emoji, controls and scripts that English does not read aloud."""
    text = token.replace("’", "'").replace("‘", "'").replace("...", "…")
    text = text.replace("–", "—").replace("--", "—").replace("−", "-")
    kept = []
    for character in text:
        if character in PUNCTUATION or character in _SYMBOLS:
            kept.append(character)
        else:
            decomposed = unicodedata.normalize("NFKD", character).replace("⁄", "/")
            kept.append("".join(part for part in decomposed if part.isascii() and part != "\0"))
    return "".join(kept)


def _words(core: str, known: Callable[[str], bool]) -> list[Spoken]:
    if known(core.lower()) and not _is_initialism(core, known):
        return [Spoken(core)]
    words: list[Spoken] = []
    for match in _PIECE.finditer(core):
        piece = match.group()
        match match.lastgroup:
            case "letters":
                words += _letters(piece, known)
            case "dotted":
                words += _by_name(piece)
            case "symbol":
                words.append(Spoken(_SYMBOLS[piece]))
            case "dot":
                words.append(Spoken("dot"))
            case kind:
                words += [Spoken(word) for word in _number_words(piece, kind or "number")]
    return words


def _letters(piece: str, known: Callable[[str], bool]) -> list[Spoken]:
    if _is_initialism(piece, known):
        return _by_name(piece)
    if piece[-1] == "s" and _is_initialism(piece[:-1], known):
        return [*_by_name(piece[:-1]), Spoken("'s")]
    if known(piece.lower()):
        return [Spoken(piece)]
    parts: list[str] = _CAMEL.findall(piece)
    if len(parts) > 1 and len(parts[-1]) > 1:
        return [word for part in parts for word in _letters(part, known)]
    if not re.search("[aeiouy]", piece, re.IGNORECASE):
        return _by_name(piece)
    return [Spoken(piece)]


def _by_name(letters: str) -> list[Spoken]:
    return [Spoken(letter, letter=True) for letter in letters if letter.isalpha()]


def _is_initialism(piece: str, known: Callable[[str], bool]) -> bool:
    if not (piece.isascii() and piece.isalpha() and piece.isupper()):
        return False
    if not 2 <= len(piece) <= _LONGEST_INITIALISM:
        return False
    return piece.lower() in _SPELLED or not known(piece.lower())


def _number_words(piece: str, kind: str) -> list[str]:
    if kind == "time":
        hour, minute = piece.split(":")
        if minute == "00":
            return [*_cardinal(hour), "o'clock"]
        oh = ["oh"] if minute[0] == "0" else []
        return [*_cardinal(hour), *oh, *_cardinal(minute.lstrip("0"))]
    if kind == "ordinal":
        return _in_words(re.sub(r"\D", "", piece), "ordinal")
    if kind == "decade":
        words = _in_words(piece[:-1], "year")
        plural = words[-1][:-1] + "ies" if words[-1].endswith("y") else words[-1] + "s"
        return [*words[:-1], plural]
    if kind == "money":
        return [*_cardinal(piece[1:]), _SYMBOLS[piece[0]]]
    return _cardinal(piece)


def _cardinal(number: str) -> list[str]:
    if re.fullmatch(r"1[1-9]\d\d|20[1-9]\d", number):
        return _in_words(number, "year")
    return _in_words(number.replace(",", ""), "cardinal")


def _in_words(digits: str, style: Literal["cardinal", "ordinal", "year"]) -> list[str]:
    # Codes, telephone numbers and digits without end are read one by one.
    leading_zero = len(digits) > 1 and digits[0] == "0" and digits[1] != "."
    if leading_zero or len(digits) > _LONGEST_NUMBER:
        return [num2words(int(digit)) for digit in digits if digit.isdigit()]
    value = float(digits) if "." in digits else int(digits)
    return re.findall("[a-z]+", num2words(value, to=style))
