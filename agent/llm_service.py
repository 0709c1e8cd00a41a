"""Pipecat's OpenAI service on a client that all conversations share."""

from collections.abc import Callable
from typing import Any

from openai import AsyncOpenAI, Timeout
from pipecat.frames.frames import EagerEndOfTurnCancelFrame, Frame, LLMContextFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.openai.llm import OpenAILLMService

from agent.draft import Draft


class SharedClientLLMService(OpenAILLMService):
    """Pipecat's OpenAI service on a client that all conversations share.

    A client takes tens of milliseconds to make, and a connection that is open already saves its
    handshake from the answer's first token.
    """

    def __init__(
        self,
        *,
        client: AsyncOpenAI,
        draft: Draft | None = None,
        on_cleanup: Callable[[], None] | None = None,
        **kwargs: Any,
    ) -> None:
        """Makes one conversation's service.

        Args:
            client: Owned, and closed, by the caller.
            draft: Follows what the model writes before the caller has finished.
            on_cleanup: Called once, at the end.
            **kwargs: Passed to Pipecat's `OpenAILLMService`.
        """
        self._shared = client
        self._draft = draft
        self._on_cleanup = on_cleanup
        self._withdrawn = 0
        super().__init__(**kwargs)

    def create_client(self, *args: Any, **kwargs: Any) -> AsyncOpenAI:
        """The shared client, whatever the arguments."""
        return self._shared

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Lets the draft see what is asked, and drops what is asked no more.

        A withdrawal is a system frame, and overtakes what it withdraws where that waits in a queue;
        Pipecat would answer it all the same, and speak that. Frames are numbered as they are made.
        """
        match frame:
            case EagerEndOfTurnCancelFrame():
                self._withdrawn = frame.id
            case LLMContextFrame(speculation=True) if frame.id < self._withdrawn:
                return
        if self._draft is not None:
            await self._draft.follow(frame)
        await super().process_frame(frame, direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Lets the draft see what is written, before Pipecat holds it back."""
        if self._draft is not None:
            await self._draft.follow(frame)
        await super().push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Gives back what belonged to this conversation only; a second time does nothing."""
        await super().cleanup()
        if self._on_cleanup is not None:
            self._on_cleanup()
            self._on_cleanup = None


def timed_client(base_url: str | None, api_key: str, timeout_s: float) -> AsyncOpenAI:
    """A client that bounds how long an endpoint may stay silent.

    Without a bound a hanging endpoint holds the conversation for ten minutes, and a retry would
    only double the caller's wait.
    """
    timeout = Timeout(timeout_s, connect=min(timeout_s, 5.0))
    return AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=timeout, max_retries=0)
