"""Is a turn going on? So that a server that stops can let it end."""

import asyncio

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    LLMFullResponseStartFrame,
    UserStartedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed

_BUSY = (UserStartedSpeakingFrame, LLMFullResponseStartFrame, BotStartedSpeakingFrame)


class TurnState(BaseObserver):
    """Busy from the caller's first sound to the end of the answer; idle in between."""

    def __init__(self) -> None:
        """A conversation starts idle."""
        super().__init__(observe_every_push=False)
        self._idle = asyncio.Event()
        self._idle.set()

    async def on_push_frame(self, data: FramePushed) -> None:
        """Follows the frames that begin and end speech."""
        if isinstance(data.frame, _BUSY):
            self._idle.clear()
        elif isinstance(data.frame, BotStoppedSpeakingFrame):
            self._idle.set()

    async def wait_idle(self, within_s: float) -> None:
        """Returns when the turn has ended, or after `within_s` seconds."""
        # A turn that nobody answers (a cough) never turns idle: hence the bound.
        try:
            await asyncio.wait_for(self._idle.wait(), within_s)
        except TimeoutError:
            return
