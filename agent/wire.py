"""The browser's websocket messages, taken with care: Pipecat's protobuf frames, and no others."""

import time
from collections import deque
from collections.abc import Callable

from google.protobuf.message import DecodeError
from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, InputTransportMessageFrame
from pipecat.serializers.protobuf import ProtobufFrameSerializer

from agent.input_audio import is_sound

# The largest message a client may send; 40 ms of 48 kHz stereo are 8 kB. uvicorn closes on more.
MAX_MESSAGE_BYTES = 256 * 1024
_MAX_GARBAGE = 50
_BURST_S = 10.0
# What the page says in RTVI; each is rare.
_MESSAGE_TYPES = {"client-ready", "disconnect-bot", "send-text", "client-message"}
_MESSAGES_PER_S = 20


class TooMuchGarbage(ConnectionError):
    """A client that sends nothing we understand is hung up on."""


class GuardedSerializer(ProtobufFrameSerializer):
    """Drops what is not a frame, and audio that arrives faster than anybody can speak it.

    Pipecat's input queue has no bound of its own, so the bound stands here: sound beyond ten
    seconds ahead of the clock is dropped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts the clock at the first sound."""
        super().__init__()
        self._clock = clock
        self._started_at: float | None = None
        self._heard_s = 0.0
        self._garbage = 0
        self._flooding = False
        self._message_times: deque[float] = deque()

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """One client message as a frame, or None if it is dropped.

        Raises:
            TooMuchGarbage: Fifty messages were not frames; the conversation ends.
        """
        try:
            frame = await super().deserialize(data)
        except (DecodeError, TypeError, ValueError, KeyError, ZeroDivisionError):
            frame = None
        match frame:
            case InputAudioRawFrame() if is_sound(frame):
                return frame if self._in_time(frame) else None
            case InputTransportMessageFrame() if self._is_wanted(frame.message):
                return frame
        # A client has no business with the other frames: they would speak for the agent.
        self._garbage += 1
        if self._garbage == 1:
            logger.warning(f"Ignored a message of {len(data)} bytes that is not an audio frame.")
        if self._garbage > _MAX_GARBAGE:
            raise TooMuchGarbage("The client sends messages that are not Pipecat frames.")
        return None

    def _is_wanted(self, message: object) -> bool:
        # RTVI has more types, and some of them are audio that would pass by this bound.
        if not isinstance(message, dict) or message.get("type") not in _MESSAGE_TYPES:
            return False
        now = self._clock()
        while self._message_times and self._message_times[0] < now - 1:
            self._message_times.popleft()
        self._message_times.append(now)
        return len(self._message_times) <= _MESSAGES_PER_S

    def _in_time(self, frame: InputAudioRawFrame) -> bool:
        rate = 2 * frame.num_channels * frame.sample_rate
        now = self._clock()
        if self._started_at is None:
            self._started_at = now
        # A microphone that paused must not save up sound to send all at once.
        self._heard_s = max(self._heard_s, now - self._started_at - _BURST_S)
        if self._heard_s > now - self._started_at + _BURST_S:
            if not self._flooding:
                logger.warning("Dropping microphone audio that arrives faster than real time.")
            self._flooding = True
            return False
        self._flooding = False
        self._heard_s += len(frame.audio) / rate
        return True
