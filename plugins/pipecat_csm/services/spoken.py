"""What is said for a written word, to tell how long it takes: English, and no dictionary.

"$12.50" is "twelve dollars fifty", "Dr." is "doctor", "3:45" is "three forty five". A word is given
in letters from which its sounds can be guessed; that is not how it would have to be pronounced.
"""

import re
import unicodedata

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = (
    "", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip
_SCALES = ((1_000_000_000, "billion"), (1_000_000, "million"), (1_000, "thousand"))
_MOST = 999_999_999_999

_ABBREVIATIONS = {
    "mr": "mister", "mrs": "missis", "ms": "miz", "dr": "doctor", "prof": "professor",
    "st": "saint", "jr": "junior", "sr": "senior", "vs": "versus", "etc": "et setera",
    "e.g": "for example", "i.e": "that is", "approx": "approximately", "dept": "department",
    "no": "no", "inc": "incorporated", "ltd": "limited", "co": "company", "jan": "january",
    "feb": "february", "aug": "august", "sept": "september", "oct": "october",
    "nov": "november", "dec": "december", "ave": "avenue", "blvd": "boulevard", "mt": "mount",
    "gen": "general", "gov": "governor", "sen": "senator", "rep": "representative",
    "capt": "captain", "lt": "lieutenant", "sgt": "sergeant", "fig": "figure", "ft": "feet",
}  # fmt: skip
_UNITS = {
    "am": "ay em", "pm": "pee em", "km": "kilometers", "kg": "kilograms", "cm": "sentimeters",
    "mm": "millimeters", "m": "meters", "g": "grams", "ml": "milliliters", "l": "liters",
    "h": "hours", "s": "seconds", "ms": "milliseconds", "mb": "megabytes", "gb": "gigabytes",
    "k": "thousand", "c": "celsius", "f": "fahrenheit", "min": "minutes", "ft": "feet",
    "mph": "miles per hour", "hz": "hertz", "khz": "kilohertz", "x": "times",
}  # fmt: skip
_SYMBOLS = {
    "&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals", "°": "degrees",
    "#": "number", "/": "slash", "$": "dollars", "€": "euros", "£": "pounds", "¥": "yen",
    "_": "underscore", "×": "times", "÷": "divided by", "<": "less than", ">": "greater than",
}  # fmt: skip
_CURRENCIES = "$€£¥"
_LETTERS = {
    "a": "ay", "b": "bee", "c": "see", "d": "dee", "e": "ee", "f": "ef", "g": "jee", "h": "aitch",
    "i": "ie", "j": "jay", "k": "kay", "l": "el", "m": "em", "n": "en", "o": "oh", "p": "pee",
    "q": "kyoo", "r": "ar", "s": "ess", "t": "tee", "u": "yoo", "v": "vee", "w": "dubbelyoo",
    "x": "eks", "y": "wie", "z": "zee",
}  # fmt: skip

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_PART = re.compile(
    rf"(?P<time>\d{{1,2}}:\d\d)(?!\d)|(?P<money>[{_CURRENCIES}](?:{_NUMBER}))|(?P<decade>\d+0s\b)"
    rf"|(?P<ordinal>\d+(?:st|nd|rd|th)\b)|(?P<number>{_NUMBER})"
    r"|(?P<letters>[^\W\d_]+(?:['’][^\W\d_]+)*)|(?P<dot>(?<=\w)\.(?=\w))|(?P<symbol>[^\w\s])",
    re.IGNORECASE,
)
_AROUND = ",;:!?…\"'“”()[]{}*_-–—"
_DOTTED = re.compile(r"(?:[a-z]\.)+[a-z]")
_VOWEL = re.compile("[aeiouy]")


def spoken(token: str) -> str:
    """What is said for a token of a text, in small letters; nothing for what is not said.

    Args:
        token: Without blanks, with its punctuation: "$12.50,", "Dr.", "it's", "👍".
    """
    text = token.replace("’", "'").replace("‘", "'")
    bare = text.strip(_AROUND + ".").lower()
    if is_abbreviation(text):
        return _ABBREVIATIONS.get(bare) or _by_name(bare)
    words: list[str] = []
    last = ""
    for part in _PART.finditer(text):
        kind, piece = part.lastgroup, part[0]
        match kind:
            case "letters" if last.isdigit() and piece.lower() in _UNITS:
                words.append(_UNITS[piece.lower()])
            case "letters":
                words.append(_word(piece))
            case "dot":
                words.append("dot")
            case "symbol":
                words.append(_SYMBOLS.get(piece, ""))
            case kind:
                words.append(_number(piece, kind or "number"))
        last = piece[-1]
    return " ".join(filter(None, words))


def words_awaited(text: str) -> int:
    """How many words of a sentence Pipecat waits for, before it takes the rest as spoken.

    That is up to the last one with a letter or digit, and the marks that stand alone behind it, as
    in "why ?"; symbols such as "€" are none.
    """
    words = text.split()
    awaited = max((i for i, word in enumerate(words, 1) if any(map(str.isalnum, word))), default=0)
    while awaited < len(words) and unicodedata.category(words[awaited][0])[0] == "P":
        awaited += 1
    return awaited


def is_abbreviation(token: str) -> bool:
    """Whether its full stop is its own: "Dr.", "e.g.", "U.S."."""
    text = token.strip(_AROUND).lower()
    return text[-1:] == "." and (text[:-1] in _ABBREVIATIONS or bool(_DOTTED.fullmatch(text[:-1])))


def _word(letters: str) -> str:
    plain = unicodedata.normalize("NFKD", letters.lower()).replace("ß", "ss")
    plain = "".join(char for char in plain if char.isalpha())
    if plain in ("am", "pm") and letters.isupper():
        return _by_name(plain)
    is_initialism = letters.isupper() and 1 < len(plain) <= 3
    if (is_initialism or not _VOWEL.search(plain)) and plain.isascii() and len(plain) < 6:
        return _by_name(plain)
    return plain


def _by_name(letters: str) -> str:
    return " ".join(_LETTERS[char] for char in letters if char in _LETTERS)


def _number(text: str, kind: str) -> str:
    if kind == "time":
        hour, minute = text.split(":")
        if minute == "00":
            return f"{_cardinal(hour)} o'clock"
        oh = "oh " if minute[0] == "0" else ""
        return f"{_cardinal(hour)} {oh}{_cardinal(minute)}"
    if kind == "money":
        return _money(text)
    if kind == "ordinal":
        return _cardinal(text[:-2]) + "th"
    if kind == "decade":
        return _numeral(text[:-1]) + "s"
    return _numeral(text)


def _money(text: str) -> str:
    whole, _, cents = text[1:].partition(".")
    words = f"{_cardinal(whole)} {_SYMBOLS[text[0]]}"
    return f"{words} {_cardinal(cents)}" if cents.strip("0") else words


def _numeral(text: str) -> str:
    whole, _, decimals = text.partition(".")
    if decimals:
        return f"{_cardinal(whole)} point {_digits(decimals)}"
    if len(whole) == 4 and "1100" <= whole < "2100" and not "2000" <= whole < "2010":
        century, year = whole[:2], whole[2:]
        if year == "00":
            return f"{_cardinal(century)} hundred"
        return f"{_cardinal(century)} {'oh ' if year[0] == '0' else ''}{_cardinal(year)}"
    return _cardinal(whole)


def _cardinal(text: str) -> str:
    digits = "".join(str(unicodedata.digit(char, 0)) for char in text if char != ",")
    # Codes are read one by one.
    if (digits[0] == "0" and len(digits) > 2) or int(digits) > _MOST:
        return _digits(digits)
    return " ".join(_words_of(int(digits)))


def _words_of(number: int) -> list[str]:
    for scale, name in _SCALES:
        if number >= scale:
            rest = number % scale
            return [*_words_of(number // scale), name, *(_words_of(rest) if rest else [])]
    if number >= 100:
        rest = number % 100
        return [_ONES[number // 100], "hundred", *(_words_of(rest) if rest else [])]
    if number < 20:
        return [_ONES[number]]
    return [_TENS[number // 10], *([_ONES[number % 10]] if number % 10 else [])]


def _digits(text: str) -> str:
    return " ".join(_ONES[unicodedata.digit(char, 0)] for char in text)
