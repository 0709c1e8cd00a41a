"""A conversation on a stage: CSM's service and taps in a real pipeline, with a fast loudspeaker."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner
from pipecat_csm.engine.engine import Engine
from pipecat_csm.history import SegmentHistory
from pipecat_csm.segment import Segment
from pipecat_csm.services.aggregators import heard_aggregators
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.playout import Playout
from pipecat_csm.services.taps import AgentSegmentTap, UserSegmentTap
from pipecat_csm.services.tts import CSMTTSService, Voices

SPEED = 8.0
"""Time on the stage runs so much faster."""
WITHIN_S = 120.0
"""What does not come about by then never does; a machine that others use takes its time."""


def clock() -> float:
    return time.monotonic() * SPEED


class FastPlayout(Playout):
    """Tells how late sound is in Pipecat's seconds: words go by its clock, which is slower."""

    def late_s(self, reply: str, *, waits: bool) -> float:
        return super().late_s(reply, waits=waits) / SPEED


class Speaker(BaseOutputTransport):
    """A loudspeaker that takes sound no faster than it plays, and plays fast."""

    def __init__(self) -> None:
        super().__init__(
            TransportParams(
                audio_out_enabled=True,
                audio_out_end_silence_secs=0,
                # A test may have it stand still.
                audio_out_write_timeout_secs=2 * WITHIN_S,
            )
        )
        self.played_s = 0.0
        self._played = asyncio.Condition()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        seconds = len(frame.audio) / 2 / frame.sample_rate
        await asyncio.sleep(seconds / SPEED)
        async with self._played:
            self.played_s += seconds
            self._played.notify_all()
        return True

    async def plays(self, seconds: float) -> None:
        async with self._played:
            await self._played.wait_for(lambda: self.played_s >= seconds)


class Stage:
    """One conversation; use it as a context."""

    def __init__(
        self,
        engine: Engine,
        voices: Voices,
        *,
        rate_hz: int = 24_000,
        history: SegmentHistory | None = None,
        **worker: Any,
    ) -> None:
        self.speaker, self.context = Speaker(), LLMContext()
        self.conversation = CSMConversation(
            engine, history=history, playout=FastPlayout(buffer_s=0.0, clock=clock)
        )
        self.tts = CSMTTSService(
            conversation=self.conversation,
            voices=voices,
            settings=CSMTTSService.Settings(temperature=0.7),
        )
        self.errors: list[str] = []
        self.tts.add_event_handler("on_error", self._note)
        self.aggregators = heard_aggregators(self.context, self.conversation)
        params = PipelineParams(audio_out_sample_rate=rate_hz, enable_metrics=True)
        self.worker = PipelineWorker(
            Pipeline(
                [
                    self.aggregators.user(),
                    UserSegmentTap(self.conversation),
                    self.tts,
                    self.speaker,
                    AgentSegmentTap(self.conversation),
                    self.aggregators.assistant(),
                ]
            ),
            cancel_on_idle_timeout=False,
            **{"params": params, **worker},
        )

    async def _note(self, _: Any, error: ErrorFrame) -> None:
        self.errors.append(error.error)

    async def __aenter__(self) -> "Stage":
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(self.worker)
        self._running = asyncio.create_task(runner.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        # Not when it is done: Pipecat's own clock runs no faster.
        await self.worker.cancel()
        await asyncio.wait_for(self._running, 60)

    async def queue(self, frames: Sequence[Frame]) -> None:
        await self.worker.queue_frames([*frames])

    async def answer(self, text: str) -> None:
        """What a language model answers, token by token."""
        tokens = [LLMTextFrame(token) for token in text.replace(" ", "| ").split("|")]
        await self.queue([LLMFullResponseStartFrame(), *tokens, LLMFullResponseEndFrame()])

    async def barge_in(self) -> None:
        await self.queue([InterruptionFrame()])

    @property
    def said(self) -> list[str]:
        """The agent's turns as the language model knows them."""
        messages: list[Any] = list(self.context.messages)
        return [message["content"] for message in messages if message["role"] == "assistant"]

    async def heard(self, sentences: int) -> list[Segment]:
        """Waits until so many of the agent's sentences are history, and returns them."""
        found: list[Segment] = []

        def enough() -> bool:
            found[:] = [s for s in self.conversation.history.heard if s.speaker == 0]
            return len(found) >= sentences

        await self.until(enough)
        await self.at_rest()
        return found

    async def at_rest(self) -> None:
        """Waits until what was sent has been heard and the engine has followed."""
        await self.until(lambda: not self.conversation.busy)

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits for something that nobody announces."""
        latest = time.monotonic() + WITHIN_S
        while time.monotonic() < latest:
            await asyncio.sleep(0.02)
            if condition():
                return
        raise TimeoutError("It does not come about.")
