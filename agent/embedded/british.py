"""Turns American pronunciations into British ones, by rule.

The lexicon is American only. The rules below are the regular differences between General
American and southern British speech (dropped r, rounded LOT, long BATH, kept t and yod), written
in Kokoro's alphabet. Spelling decides where American has merged two vowels.
"""

import re

VOWELS = "AIOQWYaiuɐɑɒæɔəɛɜɪʊʌᵊᵻ"

_BATH = re.compile(
    r"(?:after|aft|ask|answer|bath|path|grass|glass|class|pass|fast|last|past|cast|castle|master"
    r"|half|laugh|calf|can't|aunt|plant|grant|advantage|branch|chance|dance|france|command|demand"
    r"|example|sample|rather|staff|task|basket|vast)(?:s|ed|es|ing|er|est|ly|ers|ward|wards|noon"
    r"|room|rooms|word|words)?"
)
_CLOTH = re.compile(r"o(?!u|a|o)")
_WANT = re.compile(r"wa(?:n|s|tch)")
_LOT = re.compile(r"o|wa|wha|qua")
_ROUNDED = {"was", "what", "of", "from", "because", "wasn't", "what's"}
_YOD = re.compile(r"[tdn](?:u|ew|eu)")


def to_british(phonemes: str, word: str, *, before_vowel: bool = False) -> str:
    """Rewrite one word's American phonemes for a British voice.

    Args:
        phonemes: Kokoro phonemes, before flapping.
        word: Its spelling in lower case.
        before_vowel: Whether the next word begins with a vowel and follows without a pause,
            so that a final r is heard ("far away").
    """
    out = phonemes.replace("O", "Q")
    out = out.replace("æ", "ɑː" if _BATH.fullmatch(word) else "a")
    out = re.sub("ɑ(?![ɹː])", "ɒ" if _LOT.search(word) else "ɑː", out)
    if word in _ROUNDED:
        out = out.replace("ʌ", "ɒ")
    short = _CLOTH.search(word) or _WANT.search(word)
    out = re.sub("ɔ(?=[fsʃʧθŋɡnt])", "ɒ" if short else "ɔː", out)
    out = re.sub("ɔ(?![ɹː])", "ɔː", out)
    if _YOD.search(word):
        out = re.sub("(?<=[tdn])(?=[ˈˌ]u)", "j", out)
    out = re.sub(r"(?<=[ˈˌ])([iu])(?!ɹ)", r"\1ː", out)
    out = re.sub(f"([iu])(?=[^{VOWELS}ːɹ])", r"\1ː", out)
    return _without_r(out, before_vowel)


def _without_r(phonemes: str, before_vowel: bool) -> str:
    """Drop r where no vowel follows, leaving the long vowel or glide it stood for."""
    end = "(?!$)" if before_vowel else ""
    silent_r = f"ɹ(?![{VOWELS}ˈˌ]){end}"
    out = re.sub(f"([ɑɔɜ])(?={silent_r})", r"\1ː", phonemes)
    out = re.sub(f"[ɪi](?={silent_r})", "ɪə", out)
    out = re.sub(f"ɛ(?={silent_r})", "ɛː", out)
    out = re.sub(f"ʊ(?={silent_r})", "ɔː", out)
    return re.sub("ɜ(?!ː)", "ɜː", re.sub(silent_r, "", out))
