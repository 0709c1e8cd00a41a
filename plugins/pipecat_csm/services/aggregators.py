"""The conversation as the language model sees it agrees with what was heard."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from pipecat.frames.frames import Frame, InterruptionFrame, TTSStartedFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregator,
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.string import TextPartForConcatenation

from pipecat_csm.history import Heard
from pipecat_csm.services.conversation import CSMConversation

# A caller's device holds seconds of speech, and so no more replies than these.
_CORRECTED = 8


class HeardAssistantAggregator(LLMAssistantAggregator):
    """Writes of a reply that was cut off what the history holds of it.

    Pipecat's own goes by the words that the transport had released when the interruption came,
    which is a race (pipecat issue 4996), and knows nothing of a client's buffer.

    Event handlers available, beside Pipecat's own:

    - on_corrected: Called without more when a text that had been written already was not heard to
      its end and is now shorter, or when nothing is written of one since nothing of it was heard.
    """

    def __init__(self, context: LLMContext, conversation: CSMConversation, **kwargs: Any) -> None:
        """Writes into a context what the conversation says was heard."""
        super().__init__(context, **kwargs)
        self._conversation = conversation
        self._register_event_handler("on_corrected")
        # The replies of the turn that is being written, and of messages that may be corrected.
        self._replies: list[str] = []
        self._written: deque[tuple[list[str], Any]] = deque(maxlen=_CORRECTED)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Takes note of the replies that are written into the context; the rest is Pipecat's."""
        if isinstance(frame, TTSStartedFrame) and frame.context_id and frame.append_to_context:
            self._replies.append(frame.context_id)
        await super().process_frame(frame, direction)

    async def _add_aggregation_to_context(self) -> str:
        text = await super()._add_aggregation_to_context()
        if text:
            self._written.append((self._replies, self._context.messages[-1]))
            self._replies = []
        return text

    async def _handle_interruptions(self, frame: InterruptionFrame) -> None:
        heard, self._conversation.interrupted = self._conversation.interrupted, {}
        text = _text(self._replies, heard)
        if text is not None:
            part = TextPartForConcatenation(text, includes_inter_part_spaces=False)
            self._aggregation = [part] if text else []
        written, is_corrected = [*self._written], text == ""
        await super()._handle_interruptions(frame)
        # These were written already, and then not heard to their end.
        for replies, message in written:
            if any(reply in heard and not heard[reply].is_whole for reply in replies):
                self._correct(message, _text(replies, heard) or "")
                is_corrected = True
        if is_corrected:
            await self._call_event_handler("on_corrected")
        self._replies = []
        self._written.clear()

    def _correct(self, wrong: Any, text: str) -> None:
        messages: list[Any] = []
        for message in self._context.messages:
            if message is not wrong:
                messages.append(message)
            elif text:
                messages.append({"role": "assistant", "content": text})
        self._context.set_messages(messages)


def _text(replies: Sequence[str], heard: Mapping[str, Heard]) -> str | None:
    """What was heard of some replies; None if nothing is known of any."""
    known = [heard[reply].text for reply in replies if reply in heard]
    return " ".join(filter(None, known)) if known else None


def heard_aggregators(
    context: LLMContext,
    conversation: CSMConversation,
    *,
    user_params: LLMUserAggregatorParams | None = None,
) -> LLMContextAggregatorPair:
    """Pipecat's pair of aggregators, the assistant's being a `HeardAssistantAggregator`."""
    pair = LLMContextAggregatorPair(context, user_params=user_params)
    pair._assistant = HeardAssistantAggregator(
        context, conversation, _paired_user_aggregator=pair.user()
    )
    return pair
