"""The real page and doors of the server, and behind them an agent that a test moves by hand."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pipecat.processors.frameworks.rtvi.models as rtvi
import uvicorn
from pipecat.frames.frames import Frame, TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.runner import WorkerRunner
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.taps import AgentSegmentTap

from agent.calls import Calls
from agent.config import load_settings
from agent.lines import Line
from agent.metrics import Metrics
from agent.persona import load_personas
from agent.playout_reports import ReplyMarks, take_report
from agent.server import create_app
from agent.services import Services

RATE_HZ = 24_000
# What a reply's sound is at its start, and how fast it rises from there.
_START, _RISES_PER_S = 0.1, 0.08


def sound(seconds: float) -> np.ndarray:
    """Rises and rises, so that any sample tells where it stands: float32 [samples]."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (_START + _RISES_PER_S * time).astype(np.float32)


def reached_s(heard: np.ndarray) -> float:
    """How far a reply was played, by what was heard of it."""
    return (float(heard.max(initial=_START)) - _START) / _RISES_PER_S


@dataclass
class PuppetCall:
    """One call, as the test sees it.

    Attributes:
        worker: Runs its pipeline.
        conversation: Counts what was heard of each reply.
        reports: What the page has said of its playing: the reply, and milliseconds.
        heard_s: Of each reply that was cut off, as the conversation knew it then.
        ready: Set when the page is.
    """

    worker: PipelineWorker
    conversation: CSMConversation
    reports: list[tuple[str, int]] = field(default_factory=list)
    heard_s: dict[str, float] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def queue(self, *frames: Frame) -> None:
        """Has frames go down the pipeline."""
        await self.worker.queue_frames(list(frames))

    async def say(self, reply: str, seconds: float) -> None:
        """Has a reply spoken."""
        pcm = (sound(seconds) * 32767).astype("<i2").tobytes()
        await self.queue(
            TTSStartedFrame(context_id=reply),
            TTSAudioRawFrame(pcm, RATE_HZ, 1, context_id=reply),
            TTSStoppedFrame(context_id=reply),
        )

    async def tell(self, message: dict[str, Any]) -> None:
        """Sends the page a server message."""
        await self.worker.rtvi.send_server_message(message)

    def reported_s(self, reply: str) -> list[float]:
        """All that the page has said of a reply, in seconds."""
        return [ms / 1000 for name, ms in self.reports if name == reply]


class _Counting(CSMConversation):
    """Keeps what was heard of what was cut off."""

    def __init__(self, heard_s: dict[str, float]) -> None:
        super().__init__(cast(Any, None))  # nothing is asked of an engine
        self._heard_s = heard_s

    def interrupt(self, turn: str) -> None:
        self._heard_s[turn] = self.playout.heard_s(turn)
        super().interrupt(turn)


class _PuppetCalls(Calls):
    """Real lines, and calls without models."""

    def __init__(self) -> None:
        settings, personas = load_settings("embedded", environ={}), load_personas()
        super().__init__(settings, personas, Services(settings, personas), Metrics())
        self.settings = settings
        self.ready = True
        self.begun: asyncio.Queue[PuppetCall] = asyncio.Queue()

    async def run(self, line: Line, transport: BaseTransport, kind: str) -> None:
        heard_s: dict[str, float] = {}
        conversation = _Counting(heard_s)
        worker = PipelineWorker(
            Pipeline(
                [
                    transport.input(),
                    ReplyMarks(),
                    transport.output(),
                    AgentSegmentTap(conversation),
                ]
            ),
            params=PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=RATE_HZ),
        )
        call = PuppetCall(worker, conversation, heard_s=heard_s)

        @worker.rtvi.event_handler("on_client_message")
        async def take(_: object, message: rtvi.ClientMessage) -> None:
            if message.type == "playout" and message.data:
                call.reports.append((message.data["reply"], message.data["played_ms"]))
            take_report(message, conversation.playout)

        @worker.rtvi.event_handler("on_client_ready")
        async def ready(_: object) -> None:
            call.ready.set()

        @transport.event_handler("on_client_disconnected")
        async def end(*_: object) -> None:
            await worker.cancel()

        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(worker)
        self.begun.put_nowait(call)
        try:
            await runner.run()
        finally:
            self._lines.release(line)


class PuppetServer:
    """Serves on a free port, in the loop of the test; use it as a context."""

    async def __aenter__(self) -> "PuppetServer":
        """Starts it."""
        self._calls = _PuppetCalls()
        app = create_app(self._calls.settings, self._calls, Metrics())
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[sock]))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops it."""
        self._server.should_exit = True
        await self._serving

    async def call(self) -> PuppetCall:
        """The next call, once its page is ready."""
        call = await asyncio.wait_for(self._calls.begun.get(), 60)
        await asyncio.wait_for(call.ready.wait(), 60)
        return call
