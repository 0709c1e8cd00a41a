"""The rough sounds of an English word, from its letters.

What matters is how long a word lasts and where it is loud, dull or hissing, so nine kinds of sound
are enough, and a wrong vowel costs nothing. Each sound is one letter of `SOUNDS`.
"""

import re
import unicodedata

SOUNDS = "eAnlszfpb"
"""A short vowel, a long one, a nasal, a liquid or glide, a hiss, a voiced hiss, a weak hiss, a
voiceless stop, a voiced one."""

# The longest letters first. `^` and `$` are the word's ends; (?=[...]) looks at the next letter.
_RULES = (
    # endings
    ("(?<=[td])ed$", "eb"), ("(?<=..)ed$", "b"), ("(?:[tscx]i|s|t)on$", "sen"),
    ("[tsc]ions?$", "sen"), ("[ctsx]i?ous(?:ly)?$", "ses"), ("(?<=[^aeiou])les?$", "el"),
    ("(?:(?<=[cs]h)|(?<=[sxz]))es$", "ez"), ("(?<=[aeiou])e?s$", "z"), ("(?<=[^aeious])es$", "z"),
    ("(?<=[nlrmdbgvwy])s$", "z"), ("(?<=[aeiouy]..)e$", ""),
    ("(?<=[aeiouy].)e$", ""), ("(?<=.)e(?=(?:ly|ment|ful|less)s?$)", ""), ("(?<=.)y$", "A"),
    ("mb$", "n"), ("ng$", "n"), ("ing", "en"), ("tures?$", "psel"), ("ally$", "elA"),
    # several letters, one sound
    ("eigh|aigh|igh", "A"), ("ough|augh", "A"), ("^gh", "b"), ("gh", ""), ("tch", "ps"),
    ("dge?(?=[eiy])|dge", "bz"), ("sch", "sp"), ("ch", "ps"), ("sh|ss|sc(?=[eiy])", "s"),
    ("ph|ff", "f"), ("th", "f"), ("ck|cc|kk|q(?=u)", "p"), ("(?<=q)u", "l"), ("^kn|^gn|nn|mm", "n"),
    ("^wr|^wh|ll|rr", "l"), ("tt|pp", "p"), ("bb|dd|gg", "b"), ("^x|zz", "z"), ("x", "ps"),
    ("^ps", "s"), ("nk", "np"), ("^y", "l"),
    # vowels
    ("eau|ieu|eou", "A"), ("[aeo]u|[aeo]w(?![aeiouy])|[ae]y|o[aoiy]|a[ie]|e[aei]|i[e]|u[ei]", "A"),
    ("i[ao]|u[ao]|eo|iu", "Ae"), ("[aeiou](?=[^aeiouwxy]e$)", "A"), ("^[iao]$|[ouie]$", "A"),
    ("[ei]r(?![aeiouy])|[uo]r(?![aeiouyr])|ar(?![aeiouyr])", "A"),
    # letters
    ("c(?=[eiy])|s", "s"), ("[ckptq]", "p"), ("g(?=[eiy])|j", "bz"), ("[bdg]", "b"), ("[mn]", "n"),
    ("[lrwy](?=[aeiou])|[lrw]", "l"), ("[fh]", "f"), ("[vz]", "z"), ("[aeiouy]", "e"),
)  # fmt: skip
_LETTERS = re.compile("|".join(f"({pattern})" for pattern, _ in _RULES))
_SYLLABLE = "be"  # a sign of Han, Kana or Hangul is about one

# Words that are only touched in running speech.
WEAK = frozenset(
    {"a", "am", "an", "and", "are", "as", "at", "be", "but", "by", "can", "could", "did", "do"}
    | {"for", "from", "had", "has", "have", "he", "her", "him", "his", "i", "if", "in", "is"}
    | {"it", "its", "me", "my", "of", "on", "or", "our", "she", "so", "than", "that", "the"}
    | {"them", "then", "there", "they", "this", "to", "was", "we", "were", "will", "with"}
    | {"would", "you", "your"}
)


def sounds(word: str) -> str:
    """The sounds of a word, as letters of `SOUNDS`; at least one if it has a letter.

    Args:
        word: In small letters, as `spoken` gives it.
    """
    out: list[str] = []
    at = 0
    while at < len(word):
        if found := _LETTERS.match(word, at):
            out.append(_RULES[(found.lastindex or 1) - 1][1])
            at = max(found.end(), at + 1)
            continue
        char = word[at]
        if char >= "\u2e80":
            out.append(_SYLLABLE)
        elif not char.isascii() and char.isalpha():
            out.append("e" if unicodedata.name(char, "")[-1] in "AEIOUY" else "n")
        at += 1
    return "".join(out) or ("e" if any(char.isalpha() for char in word) else "")
