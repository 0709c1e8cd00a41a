"""A turn ends on all that the caller said, not on the first half of it.

Pipecat ends a turn when no words have come a second after his last sound; if there are words of an
earlier sentence of the turn, it ends on those. Where recognition takes longer, on a busy machine,
the first sentence would be answered alone, and the second would interrupt the answer.
"""

import time
from typing import Any

from pipecat.frames.frames import (
    Frame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_stop import BaseUserTurnStopStrategy
from pipecat_whisper import NothingSaidFrame

# So long a turn that would have ended waits for its words. After a silence of this length Pipecat's
# `user_turn_stop_timeout` ends it by itself; noises that recognition is busy with put that off.
PATIENCE_S = 3.0


class OwedWords(BaseUserTurnStopStrategy):
    """Puts off the end of a turn while words are owed, for `PATIENCE_S` after others at most.

    It stands before the strategy that decides on the end in the method order. Words are owed from
    the caller's first sound until recognition says that nothing more is on its way.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Passes everything on to the strategy behind."""
        super().__init__(**kwargs)
        self._sounds = False
        self._owed = False
        # The frame that told of his latest sound. Frames are numbered as they are made; words that
        # were made before it, and only come after it, know nothing of what he says now.
        self._latest_sound = 0
        self._put_off = False
        self._latest_end: float | None = None
        self._enable_frames: bool | None = None

    async def handle_user_turn_stopped(self) -> None:
        """The turn ended, if need be without the words that are owed."""
        await super().handle_user_turn_stopped()
        self._put_off = False
        self._latest_end = None

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        """Keeps account of what is owed, and makes up for an end that was put off."""
        match frame:
            case VADUserStartedSpeakingFrame():
                self._sounds = self._owed = True
                self._latest_sound = frame.id
                self._put_off = False
            case VADUserStoppedSpeakingFrame():
                self._sounds = False
            case TranscriptionFrame() | NothingSaidFrame() if not self._sounds:
                self._owed = not frame.finalized or frame.id < self._latest_sound
        if isinstance(frame, TranscriptionFrame):
            self._latest_end = None  # he did say something: patience begins anew
        result = await super().process_frame(frame)
        if self._put_off and not self._owed:
            await self.trigger_user_turn_stopped(enable_user_speaking_frames=self._enable_frames)
        return result or ProcessFrameResult.CONTINUE

    async def trigger_user_turn_stopped(
        self, *, enable_user_speaking_frames: bool | None = None
    ) -> None:
        """Ends the turn now, or when nothing is owed any more."""
        if self._latest_end is None:
            self._latest_end = time.monotonic() + PATIENCE_S
        self._put_off = self._owed and time.monotonic() < self._latest_end
        self._enable_frames = enable_user_speaking_frames
        if not self._put_off:
            await super().trigger_user_turn_stopped(
                enable_user_speaking_frames=enable_user_speaking_frames
            )
