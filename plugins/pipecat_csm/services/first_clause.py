"""The first clause of a reply at once, everything after it by the sentence.

"Of course, I can ..." can be heard while the rest is being written: the caller waits for the first
clause, not for the first sentence.
"""

from collections.abc import AsyncIterator

from pipecat.utils.text.base_text_aggregator import Aggregation, BaseTextAggregator, TextType

from pipecat_csm.services.boundaries import Cutter


class FirstClauseAggregator(BaseTextAggregator):
    """Parts a reply for a voice; for `LLMTextProcessor(text_aggregator=...)`.

    Its pieces are the reply, word for word. None ends inside a number, an abbreviation, a quotation
    or brackets, and how the text arrives changes none of them. Each comes as soon as the first
    character after it, or the first word where an abbreviation may end the sentence, is there.
    """

    def __init__(
        self,
        *,
        least_words: int = 2,
        most_words: int | None = 12,
        longest_quote: int = 200,
        language: str | None = None,
    ) -> None:
        """Waits for a reply.

        Args:
            least_words: A first clause of fewer goes on to where the next one ends. A whole
                sentence may be shorter.
            most_words: After as many without a clause's end, the next conjunction ends it; with
                None, nothing but punctuation does.
            longest_quote: Characters after which a quotation or bracket that is still open is
                parted as if it were none.
            language: For Pipecat. English abbreviations are known, and punctuation.

        Raises:
            ValueError: A bound makes no sense.
        """
        super().__init__(language=language)
        if least_words < 1 or (most_words is not None and most_words < least_words):
            raise ValueError("least_words must be at least 1, and most_words no less than that.")
        if longest_quote < 1:
            raise ValueError("longest_quote must be at least 1.")
        self._least_words = least_words
        self._most_words = most_words
        self._longest_quote = longest_quote
        self._cutter = self._new_cutter()

    @property
    def text(self) -> Aggregation:
        """What is in no piece yet."""
        return Aggregation(text=self._cutter.text.strip(), type=TextType.SENTENCE)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Takes what the model wrote next.

        Yields:
            The first clause, then sentences, without blanks at their ends.
        """
        for piece in self._cutter.feed(text):
            yield Aggregation(text=piece, type=TextType.SENTENCE)

    async def flush(self) -> Aggregation | None:
        """What is left at the end of a reply, if anything; the next text begins another."""
        rest = self.text
        self._cutter = self._new_cutter()
        return rest if rest.text else None

    async def handle_interruption(self) -> None:
        """Forgets the rest of the reply; the next text begins another."""
        self._cutter = self._new_cutter()

    async def reset(self) -> None:
        """Forgets the reply; the next text begins another."""
        self._cutter = self._new_cutter()

    def _new_cutter(self) -> Cutter:
        return Cutter(
            least_words=self._least_words,
            most_words=self._most_words,
            longest_quote=self._longest_quote,
        )
