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
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator

Prepare = Callable[[str], Awaitable[None]]


class Draft:
    """Follows what a language model writes, and hands on the first sentence of a speculation.

    It sees the frames before they are held back for the end of the turn, and finds sentences as
    Pipecat's voices do, so that the voice is later asked for the very text that it prepared.
    """

    def __init__(self, prepare: Prepare, *, language: str | None = None) -> None:
        """`prepare` gets one sentence at most for each answer on trial; `language` is its code."""
        self._prepare = prepare
        self._language = language
        self._sentences: SimpleTextAggregator | None = None

    async def follow(self, frame: Frame) -> None:
        """Takes one frame that reaches the model, or that the model pushes."""
        match frame:
            case LLMContextFrame():
                on_trial = frame.speculation
                self._sentences = (
                    SimpleTextAggregator(language=self._language) if on_trial else None
                )
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
