"""What the language model reads of a long conversation: the newest turns that fit."""

from typing import Any

from pipecat.frames.frames import Frame, LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

# English takes four characters a token; other languages, and names, take fewer.
CHARS_PER_TOKEN = 3


class ContextLimit(FrameProcessor):
    """Stands before the language model and drops the oldest turns beyond its context.

    Without it a conversation of half an hour ends in a model that refuses every prompt.
    """

    def __init__(self, context: LLMContext, max_chars: int) -> None:
        """Bounds the conversation's context, and what is made of it on trial.

        Args:
            context: What the aggregators write the conversation into.
            max_chars: Of the texts of all messages together.
        """
        super().__init__()
        self._context = context
        self._max_chars = max_chars

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Passes every frame on, contexts within the limit."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            # A speculation answers a copy, and where all of them are right no other context passes.
            for context in {id(c): c for c in (frame.context, self._context)}.values():
                self._limit(context)
        await self.push_frame(frame, direction)

    def _limit(self, context: LLMContext) -> None:
        messages: list[Any] = list(context.messages)
        kept = newest_within(messages, self._max_chars)
        if kept != messages:
            context.set_messages(kept)


def newest_within(messages: list[Any], max_chars: int) -> list[Any]:
    """The newest messages whose texts fit, beginning with the caller; the last one in any case.

    A last message that is too long by itself keeps its end.
    """
    kept: list[Any] = []
    left = max_chars
    for message in reversed(messages):
        text = message.get("content") or ""
        left -= len(text) if isinstance(text, str) else 0
        if left < 0 and kept:
            break
        kept.append(message if left >= 0 else {**message, "content": text[-max_chars:]})
    kept.reverse()
    if len(kept) < len(messages):
        while len(kept) > 1 and kept[0].get("role") == "assistant":
            del kept[0]
    return kept
