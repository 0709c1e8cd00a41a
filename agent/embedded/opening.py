"""Cuts an answer into sentences, and its opening off as soon as it is there.

"Well, I think ..." can begin with "Well," while the rest is being written and spoken: the caller
hears the agent a second earlier.
"""

import re
from collections.abc import AsyncIterator

from pipecat.utils.text.base_text_aggregator import Aggregation, TextType
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator

# A comma after a digit may stand within a date, which is only spoken right as a whole; a dash may
# belong to what follows.
_OPENING = re.compile(r"""[^\W\d_]["'”’)]*[,;:]["'”’)]*\s""")


class OpeningAggregator(SimpleTextAggregator):
    """Pipecat's sentences, but for the first clause of each answer, which comes on its own."""

    _opened = False

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Takes what the model wrote next.

        Yields:
            The opening or a sentence, once the first character of what follows is there.
        """
        for character in text:
            if not self._opened and not character.isspace() and _OPENING.search(self._text):
                self._opened = True
                opening = self._text.strip(" ")
                await super().reset()
                yield Aggregation(text=opening, type=TextType.SENTENCE)
            async for sentence in super().aggregate(character):
                self._opened = True
                yield sentence

    async def flush(self) -> Aggregation | None:
        """What is left at the end of an answer; the next text begins another."""
        rest = await super().flush()
        self._opened = False
        return rest

    async def handle_interruption(self) -> None:
        """Forgets the answer."""
        await super().handle_interruption()
        self._opened = False
