"""When the language model fails or hangs, the caller hears a short apology, not silence."""

from loguru import logger
from pipecat.frames.frames import ErrorFrame, Frame, TTSSpeakFrame
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

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Passes every frame on; an error of the language model also becomes speech."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, ErrorFrame) and isinstance(frame.processor, LLMService):
            logger.warning(f"The language model failed: {frame.error}")
            await self.push_frame(notice("The language model did not answer."))
            # The model never said it, so its context must not claim that it did.
            await self.push_frame(TTSSpeakFrame(self._text, append_to_context=False))
