"""Thinks of an answer while it is not yet certain that the caller has finished.

When the caller pauses and his words are known, but the end of his turn is not, the language model
answers them on trial. Pipecat holds that answer back until the turn ends: then it is spoken at
once, or dropped when he went on, and the time of the wait was not lost.
"""

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.services.llm_service import LLMService
from pipecat.turns.types import ProcessFrameResult, UserTurnSpeculation
from pipecat.turns.user_stop import BaseUserTurnStopStrategy, NormalizedMatch


class Speculating(BaseUserTurnStopStrategy):
    """Adds speculation to a stop strategy that stands behind it in the method order.

    Pipecat's own `EagerUserTurnStopStrategy` does this for speech recognition that ends turns
    itself; here Pipecat's local strategies end them, and decide as they always do.
    """

    def __init__(self, **kwargs) -> None:
        """Passes everything on to the strategy behind."""
        super().__init__(**kwargs)
        self._heard: list[str] = []
        self._speculation: str | None = None
        self._speaking = False
        self._match = NormalizedMatch()

    async def handle_user_turn_started(self) -> None:
        """A new turn: nothing heard, nothing answered."""
        await super().handle_user_turn_started()
        await self._forget()

    async def handle_user_turn_stopped(self) -> None:
        """The turn ended; an answer that nobody has confirmed by then is withdrawn."""
        await super().handle_user_turn_stopped()
        await self._forget()

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        """Starts or withdraws a speculation, around what the strategy behind decides."""
        match frame:
            case VADUserStartedSpeakingFrame():
                self._speaking = True
                await self._withdraw()
            case VADUserStoppedSpeakingFrame():
                self._speaking = False
            case TranscriptionFrame():
                self._heard.append(frame.text.strip())
            case InterruptionFrame():
                # The model's answer was dropped on its way here, as every interruption does.
                self._speculation = None
            case ErrorFrame() if isinstance(frame.processor, LLMService):
                # The end of the turn asks again.
                await self._withdraw()
        result = await super().process_frame(frame)
        if isinstance(frame, TranscriptionFrame) and frame.finalized:
            await self._speculate()
        return result or ProcessFrameResult.CONTINUE

    async def trigger_user_turn_stopped(
        self, *, enable_user_speaking_frames: bool | None = None
    ) -> None:
        """Ends the turn: with the answer that is there, or by asking for one."""
        speculation, heard = self._speculation, " ".join(self._heard)
        if speculation is not None and self._match.matches(speculation, heard):
            self._speculation = None
            await self.trigger_user_turn_finalized(
                enable_user_speaking_frames=enable_user_speaking_frames, confirms_speculation=True
            )
            return
        await self._withdraw()
        await super().trigger_user_turn_stopped(
            enable_user_speaking_frames=enable_user_speaking_frames
        )

    async def _speculate(self) -> None:
        # Words that ended the turn have been forgotten with it by now.
        heard = " ".join(self._heard)
        if self._speaking or not heard or heard == self._speculation:
            return
        await self._withdraw()
        self._speculation = heard
        await self.trigger_user_turn_inference_triggered(speculation=UserTurnSpeculation(heard))

    async def _withdraw(self) -> None:
        if self._speculation is not None:
            self._speculation = None
            await self.trigger_user_turn_speculation_cancelled()

    async def _forget(self) -> None:
        self._heard.clear()
        await self._withdraw()
