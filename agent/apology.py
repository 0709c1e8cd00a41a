"""When the language model fails or hangs, the caller hears a short apology, not silence."""

from loguru import logger
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    LLMContextFrame,
    TTSSpeakFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame
from pipecat.services.llm_service import LLMService


def notice(text: str, level: str = "error") -> RTVIServerMessageFrame:
    """A sentence for the page to show."""
    return RTVIServerMessageFrame(data={"type": "notice", "level": level, "text": text})


class Apology(FrameProcessor):
    """Stands right before the language model, where its errors pass on their way upstream."""

    def __init__(self, text: str) -> None:
        """Takes the persona's apology."""
        super().__init__()
        self._text = text
        self._on_trial = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Passes every frame on; an error of the language model also becomes speech."""
        await super().process_frame(frame, direction)
        match frame:
            case LLMContextFrame():
                self._on_trial = frame.speculation
            case UserStoppedSpeakingFrame():
                self._on_trial = False
        await self.push_frame(frame, direction)
        if isinstance(frame, ErrorFrame) and isinstance(frame.processor, LLMService):
            logger.warning(f"The language model failed: {frame.error}")
            if self._on_trial:
                # The caller may still be speaking; the end of his turn asks again.
                return
            await self.push_frame(notice("The language model did not answer."))
            # The model never said it, so its context must not claim that it did.
            await self.push_frame(TTSSpeakFrame(self._text, append_to_context=False))
