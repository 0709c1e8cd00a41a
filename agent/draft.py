"""The first sentence of an answer that is still on trial, for the voice to prepare."""

from collections.abc import Awaitable, Callable

from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.utils.text.base_text_aggregator import BaseTextAggregator

Prepare = Callable[[str], Awaitable[None]]


class Draft:
    """Follows what a language model writes, and hands on the first sentence of a speculation.

    It sees the frames before they are held back for the end of the turn.
    """

    def __init__(self, prepare: Prepare, aggregator: Callable[[], BaseTextAggregator]) -> None:
        """Follows one conversation's model.

        Args:
            prepare: Gets one sentence at most for each answer on trial.
            aggregator: Makes what finds sentences, just as the voice's own does, so that the
                voice is later asked for the very text that it prepared.
        """
        self._prepare = prepare
        self._aggregator = aggregator
        self._sentences: BaseTextAggregator | None = None

    async def follow(self, frame: Frame) -> None:
        """Takes one frame that reaches the model, or that the model pushes."""
        match frame:
            case LLMContextFrame():
                self._sentences = self._aggregator() if frame.speculation else None
            case EagerEndOfTurnCancelFrame() | InterruptionFrame() | UserStoppedSpeakingFrame():
                self._sentences = None
            case LLMTextFrame() if self._sentences is not None:
                async for sentence in self._sentences.aggregate(frame.text):
                    await self._hand_on(sentence.text)
                    return
            case LLMFullResponseEndFrame() if self._sentences is not None:
                if rest := await self._sentences.flush():
                    await self._hand_on(rest.text)

    async def _hand_on(self, sentence: str) -> None:
        self._sentences = None
        if sentence.strip():
            await self._prepare(sentence)
