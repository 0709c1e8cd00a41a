"""How much of each reply the page has played: marks in the sound, and its reports of them."""

from typing import TYPE_CHECKING

import pipecat.processors.frameworks.rtvi.models as rtvi
from pipecat.frames.frames import Frame, OutputTransportMessageFrame, TTSStartedFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from agent.client_rules import PLAYOUT_REPORT

if TYPE_CHECKING:
    from pipecat_csm.services.playout import Playout

# No call lasts a week.
_LONGEST_MS = 7 * 24 * 3600 * 1000


class ReplyMarks(FrameProcessor):
    """Sends a mark before each reply's sound. Its place is right before the transport's output.

    The mark waits its turn among the sound and is dropped with it at an interruption. Over a
    websocket it arrives just where the reply begins, so that the page can say how much of which
    reply it has played. Whoever does not know the mark ignores it.
    """

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Passes every frame on, a mark ahead of a reply that begins."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSStartedFrame) and frame.context_id:
            mark = rtvi.ServerMessage(data={"type": "reply", "id": frame.context_id})
            await self.push_frame(OutputTransportMessageFrame(mark.model_dump()))
        await self.push_frame(frame, direction)


def take_report(message: rtvi.ClientMessage, playout: "Playout") -> None:
    """Has the playout know what the page reports, if that is what a client's message does.

    A report is of the type `PLAYOUT_REPORT`, with ``{"reply": id, "played_ms": number}``: how much
    of the marked reply has left the page's queue for the loudspeaker. What was dropped unheard is
    in no report. Anything else is ignored, as is a reply that has ended.
    """
    match message.data:
        case {"reply": str(reply), "played_ms": int() | float() as played_ms} if (
            message.type == PLAYOUT_REPORT and 0 <= played_ms <= _LONGEST_MS
        ):
            playout.confirm(reply, played_ms / 1000)
