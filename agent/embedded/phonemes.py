"""English text to Kokoro's phonemes, with gruut's lexicon, tagger and letter-to-sound model.

gruut (MIT) is used instead of the espeak-based phonemizer that is usual for Kokoro, which is
GPL-3. Its parts are used directly rather than through its text pipeline: that keeps every phoneme
with the token it belongs to, which captions need, and takes about a millisecond a sentence.
"""

import re
import sqlite3
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from agent.embedded.british import VOWELS, to_british
from agent.embedded.speakable import Speakable, Spoken, speakable

Accent = Literal["american", "british"]

# fmt: off
VOCABULARY: dict[str, int] = {
    ";": 1, ":": 2, ",": 3, ".": 4, "!": 5, "?": 6, "—": 9, "…": 10, '"': 11, "(": 12,
    ")": 13, "“": 14, "”": 15, " ": 16, "A": 24, "I": 25, "O": 31, "Q": 33, "T": 36,
    "W": 39, "Y": 41, "ᵊ": 42, "a": 43, "b": 44, "d": 46, "f": 48, "h": 50, "i": 51,
    "j": 52, "k": 53, "l": 54, "m": 55, "n": 56, "p": 58, "s": 61, "t": 62, "u": 63,
    "v": 64, "w": 65, "z": 68, "ɑ": 69, "ɐ": 70, "ɒ": 71, "æ": 72, "ɔ": 76, "ð": 81,
    "ʤ": 82, "ə": 83, "ɛ": 86, "ɜ": 87, "ɡ": 92, "ɪ": 102, "ŋ": 112, "θ": 119, "ɹ": 123,
    "ʃ": 131, "ʧ": 133, "ʊ": 135, "ʌ": 138, "ʒ": 147, "ˈ": 156, "ˌ": 157, "ː": 158,
    "ᵻ": 177,
}
# fmt: on
"""The symbols of Kokoro v1.0 that English uses, with the model's token ids."""

_FROM_GRUUT = {
    "eɪ": "A",
    "aɪ": "I",
    "aʊ": "W",
    "oʊ": "O",
    "ɔɪ": "Y",
    "t͡ʃ": "ʧ",
    "d͡ʒ": "ʤ",
    "ɚ": "əɹ",
    "ɝ": "ɜɹ",
}

# Words that are weak in running speech. A lexicon gives them the stress they have alone, and
# with it every reading sounds like a list.
# fmt: off
_WEAK = {
    "a": "ɐ", "an": "ɐn", "the": "ðə", "of": "ʌv", "to": "tə", "and": "ænd", "for": "fɔɹ",
    "is": "ɪz", "was": "wʌz", "in": "ɪn", "it": "ɪt", "at": "æt", "as": "æz", "are": "ɑɹ",
    "be": "bi", "or": "ɔɹ", "with": "wɪð", "from": "fɹʌm", "by": "bI", "but": "bʌt",
    "you": "ju", "your": "jɔɹ", "he": "hi", "she": "ʃi", "we": "wi", "me": "mi", "my": "mI",
    "his": "hɪz", "her": "hɜɹ", "its": "ɪts", "us": "ʌs", "them": "ðɛm", "their": "ðɛɹ",
    "has": "hæz", "have": "hæv", "had": "hæd", "can": "kæn", "will": "wɪl", "if": "ɪf",
    "would": "wʊd", "could": "kʊd", "were": "wɜɹ", "am": "æm", "than": "ðæn", "i": "ˌI",
    "on": "ˌɔn", "it's": "ɪts", "i'm": "Im",
}
# fmt: on
_ARTICLES = {"a", "an", "the"}
_STRESS = "ˈˌ"
_CLAUSE_END = set(";:,.!?—…)”")


@dataclass(frozen=True)
class PhonemeWord:
    """One token of a text and what is said for it.

    Attributes:
        text: The token exactly as it stands in the text.
        phonemes: Kokoro symbols with the token's punctuation; empty if it is not spoken.
    """

    text: str
    phonemes: str


class Phonemizer:
    """Pronounces English. Thread-safe; its data loads at the first use (see `warm_up`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Load lexicon, tagger and letter-to-sound model (about 0.8 s, 80 MB)."""
        self.words("warm zzyzx")

    def words(self, text: str, accent: Accent = "american") -> list[PhonemeWord]:
        """Pronounce a text.

        Args:
            text: Any text. What cannot be said in English is passed over in silence.
            accent: British pronunciations are derived from the American lexicon by rule.

        Returns:
            One entry per whitespace-delimited token of ``text``, in order.
        """
        tokens = text.split()
        # The lexicon is a plain dict once it is loaded, but the two CRF taggers keep state.
        with self._lock:
            parts = [speakable(token, self._known) for token in tokens]
            pronounced = iter(self._pronounce(parts, accent))
        return [
            PhonemeWord(token, _dressed(part, [next(pronounced) for _ in part.words]))
            for token, part in zip(tokens, parts, strict=True)
        ]

    def _pronounce(self, parts: list[Speakable], accent: Accent) -> list[str]:
        words = [word for part in parts for word in part.words]
        last_of_clause = [
            index == len(part.words) - 1 and bool(_CLAUSE_END & set(part.after))
            for part in parts
            for index in range(len(part.words))
        ]
        if last_of_clause:
            last_of_clause[-1] = True
        roles = self._tagger([word.text for word in words]) if words else []
        american = [
            self._american(word, role, final)
            for word, role, final in zip(words, roles, last_of_clause, strict=True)
        ]
        out: list[str] = []
        for index, (word, phonemes) in enumerate(zip(words, american, strict=True)):
            following = "" if last_of_clause[index] else american[index + 1].lstrip(_STRESS)
            vowel_next = following[:1] != "" and following[0] in VOWELS
            name = word.text.lower()
            if vowel_next and name == "the":
                phonemes = "ði"
            elif vowel_next and name == "to":
                phonemes = "tʊ"
            if accent == "british":
                out.append(to_british(phonemes, name, before_vowel=vowel_next))
            else:
                out.append(_reduced(phonemes))
        return out

    def _american(self, word: Spoken, role: str, final: bool) -> str:
        name = word.text.lower()
        if not word.letter and name in _WEAK:
            weak = _WEAK[name]
            stressed = final and name not in _ARTICLES
            alone = re.sub(f"ˌ?([{VOWELS}])", r"ˈ\1", weak, count=1)
            return alone if stressed else weak
        if word.letter:
            role = "letter"
        found = self._lexicon.get(name)
        if found is None:
            return _kokoro(self._guess(name))
        return _kokoro((found.get(_kind(role)) or next(iter(found.values()))).split())

    def _known(self, word: str) -> bool:
        return word in self._lexicon

    @cached_property
    def _lexicon(self) -> dict[str, dict[str, str]]:
        """Word to pronunciations by part of speech.

        In memory, because the database has no index on its words: a look-up there takes 10 ms.
        """
        lexicon: dict[str, dict[str, str]] = {}
        path = _language_data() / "lexicon.db"
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT word, role, phonemes FROM word_phonemes ORDER BY pron_order"
            )
            for word, role, phonemes in rows:
                lexicon.setdefault(word, {}).setdefault(role.removeprefix("gruut:"), phonemes)
        finally:
            connection.close()
        return lexicon

    # gruut is imported where it is used: it takes half a second, and a text-only start of the
    # agent does not need it.
    @cached_property
    def _tagger(self) -> Any:
        from gruut.pos import PartOfSpeechTagger

        return PartOfSpeechTagger(_language_data() / "pos" / "model.crf")

    @cached_property
    def _guess(self) -> Any:
        from gruut.g2p import GraphemesToPhonemes

        return GraphemesToPhonemes(_language_data() / "g2p" / "model.crf")


def _language_data() -> Path:
    import gruut_lang_en

    return Path(gruut_lang_en.__file__).parent


def _kind(role: str) -> str:
    """Reduce a Penn part-of-speech tag to the few that the lexicon tells apart."""
    if role in {"VBD", "VBN"}:
        return "VBD"
    for kind in ("VB", "NN", "JJ", "RB"):
        if role.startswith(kind):
            return kind
    return role


def _kokoro(symbols: list[str]) -> str:
    """Translate gruut's symbols, each with its stress mark before it, into Kokoro's."""
    out = ""
    for symbol in symbols:
        bare = symbol.lstrip(_STRESS)
        stress = symbol[: len(symbol) - len(bare)]
        sound = "ɜɹ" if bare == "ɚ" and stress else _FROM_GRUUT.get(bare, bare)
        out += stress + sound
    # A guessed word may carry several primary stresses: the last one is the likeliest.
    head, mark, tail = out.rpartition("ˈ")
    out = head.replace("ˈ", "ˌ") + mark + tail
    return "".join(symbol for symbol in out if symbol in VOCABULARY)


def _reduced(phonemes: str) -> str:
    """The American reductions Kokoro was trained with: flapped t, syllabic l and n."""
    out = re.sub("əl$", "ᵊl", phonemes)
    out = re.sub("(?<=[tds])ən$", "ᵊn", out)
    return re.sub(f"(?<=[{VOWELS}ɹ])t(?=[əiɪOᵊ])(?!ᵊn)", "T", out)


def _dressed(part: Speakable, phonemes: list[str]) -> str:
    return part.before + " ".join(sound for sound in phonemes if sound) + part.after
