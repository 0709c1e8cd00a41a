"""The browser's websocket messages, taken with care: Pipecat's protobuf frames, and no others."""

import time
from collections.abc import Callable

from google.protobuf.message import DecodeError
from pipecat.frames.frames import Frame, InputAudioRawFrame, InputTransportMessageFrame
from pipecat.serializers.protobuf import ProtobufFrameSerializer

from agent.client_rules import AudioPace, ClientMessages, is_playout_report
from agent.input_audio import is_sound

# The largest message a client may send; 40 ms of 48 kHz stereo are 8 kB. uvicorn closes on more.
MAX_MESSAGE_BYTES = 256 * 1024


class GuardedSerializer(ProtobufFrameSerializer):
    """Drops what is not a frame that a client may send, and audio that floods."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds."""
        super().__init__()
        self._messages = ClientMessages(clock)
        self._audio = AudioPace(clock)

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """One client message as a frame, or None if it is dropped.

        Raises:
            TooMuchGarbage: More than fifty messages were not frames; the conversation ends.
        """
        try:
            frame = await super().deserialize(data)
        except (DecodeError, TypeError, ValueError, KeyError, ZeroDivisionError):
            frame = None
        match frame:
            case InputAudioRawFrame() if is_sound(frame):
                return frame if self._audio.admit(frame) else None
            case InputTransportMessageFrame() if is_playout_report(frame.message):
                return frame if self._messages.in_report_pace() else None
            case InputTransportMessageFrame() if self._messages.admit(frame.message):
                return frame
        # A client has no business with the other frames: they would speak for the agent.
        self._messages.refuse(f"a message of {len(data)} bytes that is not an audio frame")
        return None
