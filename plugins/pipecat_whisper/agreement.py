"""Captions that grow and don't flicker."""


class LocalAgreement:
    """Keeps the beginning of an utterance on which two hypotheses in a row agree.

    LocalAgreement-2 (Liu, Spanakis and Niehues, 2020; Macháček, Dabre and Bojar, 2023): the end
    of a hypothesis is a guess at half a word, and only what survives more audio is shown.
    """

    def __init__(self) -> None:
        """Nothing is agreed on yet."""
        self._last: list[str] = []
        self._agreed = 0

    def update(self, text: str) -> str:
        """Takes the newest hypothesis; returns the words that it shares with the one before.

        The agreed words only ever become more. A hypothesis that contradicts them is no reason
        to take words back from the screen: the final transcript will be right soon.

        Returns:
            The agreed beginning in the newest spelling, without the punctuation of a sentence
            that may yet go on; empty when the newest hypothesis adds nothing.
        """
        words = text.split()
        shared = 0
        for mine, theirs in zip(words, self._last, strict=False):
            if _bare(mine) != _bare(theirs):
                break
            shared += 1
        # A dash or a full stop that stands alone is no word.
        while shared and not _bare(words[shared - 1]):
            shared -= 1
        self._last = words
        if shared <= self._agreed:
            return ""
        self._agreed = shared
        return " ".join(words[:shared]).rstrip(".,?!…-")


def _bare(word: str) -> str:
    return "".join(character for character in word.lower() if character.isalnum())
