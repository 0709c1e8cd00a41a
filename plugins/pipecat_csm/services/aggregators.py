"""The conversation as the language model sees it agrees with what was heard."""

from typing import Any

from pipecat.frames.frames import InterruptionFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregator,
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.utils.string import TextPartForConcatenation

from pipecat_csm.services.conversation import CSMConversation


class HeardAssistantAggregator(LLMAssistantAggregator):
    """Writes of a reply that was cut off what the history holds of it.

    Pipecat's own goes by the words that the transport had released when the interruption came,
    which is a race (pipecat issue 4996), and knows nothing of a client's buffer.
    """

    def __init__(self, context: LLMContext, conversation: CSMConversation, **kwargs: Any) -> None:
        """Writes into a context what the conversation says was heard."""
        super().__init__(context, **kwargs)
        self._conversation = conversation

    async def _handle_interruptions(self, frame: InterruptionFrame) -> None:
        heard, self._conversation.interrupted = self._conversation.interrupted, None
        is_open = bool(self._assistant_turn_start_timestamp)
        if heard is not None and is_open:
            part = TextPartForConcatenation(heard.text, includes_inter_part_spaces=False)
            self._aggregation = [part] if heard.text else []
        await super()._handle_interruptions(frame)
        if heard is not None and not is_open and not heard.is_whole:
            self._correct_last(heard.text)

    def _correct_last(self, text: str) -> None:
        """The reply was written already, and then not heard to its end."""
        messages: list[Any] = list(self._context.messages)
        if not messages or messages[-1].get("role") != "assistant":
            return
        messages.pop()
        if text:
            messages.append({"role": "assistant", "content": text})
        self._context.set_messages(messages)


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
