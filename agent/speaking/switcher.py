"""Which of two voices speaks: CSM while it can, the spare one while it cannot."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loguru import logger
from pipecat.frames.frames import (
    ControlFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategy
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from agent.embedded.kokoro_tts import KokoroTTSService

if TYPE_CHECKING:
    from pipecat_csm.services.tts import CSMTTSService

_FIRST_TRY_S = 0.5
_LAST_TRY_S = 15.0


@dataclass
class _LineEnds(ControlFrame):
    """Goes behind a line, and comes out when the line was said, or there was nothing to say."""


class _BetweenReplies(ServiceSwitcherStrategy):
    """Switches when it is told to, which is between two replies."""

    async def handle_error(self, error: ErrorFrame) -> FrameProcessor | None:
        """The spare voice takes over with the next reply, so that the error is dealt with."""
        return self.services[-1] if self.active_service is self.services[0] else None

    async def switch_to(self, service: FrameProcessor) -> None:
        """Has another service speak from now on."""
        await self._set_active_if_available(service)


class VoiceSwitcher(ServiceSwitcher[_BetweenReplies]):
    """CSM's service and a spare voice's, of which one speaks each reply from its start to its end.

    Pipecat's own failover switches at once, and closes the way of what the first service still
    has to say. Here a reply that CSM began is finished by CSM, and what it could not say of it is
    said by the spare voice afterwards. CSM speaks again from the next reply on when it can.
    """

    def __init__(
        self,
        csm: "CSMTTSService",
        spare: KokoroTTSService,
        *,
        recover: Callable[[], Awaitable[bool]],
    ) -> None:
        """CSM speaks first.

        Args:
            csm: Says what it could not speak by its event `on_unspoken`.
            spare: Speaks where CSM does not.
            recover: Tries to have CSM speak again, and says whether it can.
        """
        super().__init__([csm, spare], strategy_type=_BetweenReplies)
        self.csm, self.spare = csm, spare
        self._recover = recover
        self._recovering: asyncio.Task[None] | None = None
        # What has been asked for and not been said to its end.
        self._answering = False
        self._lines: set[int] = set()
        self._sounding: set[str] = set()
        self._unspoken: list[str] = []
        self._rest: TTSSpeakFrame | None = None
        csm.add_event_handler("on_unspoken", self._keep)

    @property
    def active(self) -> "CSMTTSService | KokoroTTSService":
        """The service that speaks."""
        return self.csm if self.strategy.active_service is self.csm else self.spare

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Sets both services up, and begins to watch over CSM."""
        await super().setup(setup)
        self._recovering = self.create_task(self._keep_trying())

    async def cleanup(self) -> None:
        """Ends both; a second time does nothing."""
        recovering, self._recovering = self._recovering, None
        if recovering is not None:
            await self.cancel_task(recovering)
        await super().cleanup()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Chooses the voice when a reply begins; the rest is Pipecat's."""
        if direction == FrameDirection.DOWNSTREAM:
            match frame:
                case LLMFullResponseStartFrame():
                    await self._choose()
                    self._answering = True
                case TTSSpeakFrame():
                    await self._choose(spare=frame is self._rest)
                    await super().process_frame(frame, direction)
                    end = _LineEnds()
                    self._lines.add(end.id)
                    await super().process_frame(end, direction)
                    return
                case InterruptionFrame():
                    self._answering = False
                    self._lines.clear()
                    self._forget()
        await super().process_frame(frame, direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Takes note of replies that begin and end; the rest is Pipecat's."""
        if isinstance(frame, _LineEnds):
            self._lines.discard(frame.id)
            await self._say_the_rest()
            return
        await super().push_frame(frame, direction)
        if direction != FrameDirection.DOWNSTREAM:
            return
        match frame:
            case InterruptionFrame():
                # The service may have gone on between its coming in and its coming out.
                self._forget()
            case TTSStartedFrame() if frame.context_id:
                self._sounding.add(frame.context_id)
            case TTSStoppedFrame() if frame.context_id:
                self._sounding.discard(frame.context_id)
                await self._say_the_rest()
            case LLMFullResponseEndFrame():
                self._answering = False
                await self._say_the_rest()

    @property
    def _silent(self) -> bool:
        return not (self._answering or self._lines or self._sounding)

    def _forget(self) -> None:
        self._sounding.clear()
        self._unspoken.clear()

    async def _choose(self, *, spare: bool = False) -> None:
        wanted = self.csm if self.csm.speaks and not spare else self.spare
        if wanted is not self.active and self._silent:
            await self.strategy.switch_to(wanted)

    async def _keep(self, csm: "CSMTTSService", text: str) -> None:
        if text.strip():
            self._unspoken.append(text)

    async def _say_the_rest(self) -> None:
        if self._unspoken and self._silent:
            text = " ".join(self._unspoken)
            self._unspoken.clear()
            logger.debug(f"{self}: the spare voice says what CSM could not: [{text}]")
            self._rest = TTSSpeakFrame(text)
            await self.queue_frame(self._rest)

    async def _keep_trying(self) -> None:
        """Has CSM speak again, as soon as it can; each try is later than the last."""
        pause_s = _FIRST_TRY_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                if self.csm.speaks:
                    pause_s = _FIRST_TRY_S
                    continue
                if await self._recover():
                    logger.info(f"{self}: CSM speaks again from the next reply on.")
                    continue
            except Exception as error:  # whatever it is, the spare voice goes on
                logger.warning(f"{self}: CSM cannot be brought back: {error!r}")
            pause_s = min(2 * pause_s, _LAST_TRY_S)
