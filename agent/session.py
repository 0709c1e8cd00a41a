"""One conversation, from connect to hang-up."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from loguru import logger
from pipecat.frames.frames import ErrorFrame, TTSSpeakFrame
from pipecat.observers.user_bot_latency_observer import (
    LatencyBreakdown,
    UserBotLatencyObserver,
)
from pipecat.pipeline.service_switcher import ServiceSwitcher
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_response_universal import (
    AssistantTurnStoppedMessage,
    LLMContextAggregatorPair,
)
from pipecat.processors.frameworks.rtvi.models import ClientMessage
from pipecat.services.llm_service import LLMService
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.runner import WorkerRunner

from agent.apology import notice
from agent.latency import from_breakdown
from agent.metrics import Metrics
from agent.persona import Persona
from agent.pipeline import AUDIO_IN_HZ, AUDIO_OUT_HZ, Ears, build_pipeline
from agent.playout_reports import take_report
from agent.services import Services
from agent.settings import Settings
from agent.speaking.mouth import Mouth, VoiceNews
from agent.speaking.reply_metrics import ReplyMetrics
from agent.turn_state import TurnState

# What the page says while a spare voice speaks in CSM's place.
_CSM_AWAY = "CSM cannot speak just now; the spare voice speaks until it can."


class Session:
    """Runs one caller's pipeline until he hangs up, falls silent for long, or the server stops."""

    def __init__(
        self,
        transport: BaseTransport,
        persona: Persona,
        services: Services,
        ears: Ears,
        mouth: Mouth,
        settings: Settings,
        metrics: Metrics,
        *,
        name: str,
    ) -> None:
        """Builds the pipeline; `run` starts it."""
        self.name = name
        self.mouth = mouth
        self._persona = persona
        self._metrics = metrics
        self._turns = 0
        pipeline, aggregators = build_pipeline(transport, persona, services, ears, mouth)
        self.context = aggregators.user().context
        latency = UserBotLatencyObserver()
        self._turn_state = TurnState()
        self._worker = PipelineWorker(
            pipeline,
            params=PipelineParams(
                audio_in_sample_rate=AUDIO_IN_HZ,
                audio_out_sample_rate=AUDIO_OUT_HZ,
                enable_metrics=True,
            ),
            observers=[latency, self._turn_state, ReplyMetrics(metrics)],
            idle_timeout_secs=settings.server.idle_timeout_s,
            conversation_id=name,
        )
        self._greet_once()
        self._report_voice()
        self._take_playout_reports()
        self._report_turns(aggregators, latency)
        self._report_errors()
        self._end_with(transport)

    async def run(self) -> None:
        """Runs to the end of the conversation."""
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(self._worker)
        await runner.run()

    async def hang_up(self, within_s: float) -> None:
        """Lets the turn that is going on end, within a bound, then ends the conversation."""
        await self._turn_state.wait_idle(within_s)
        await self._worker.stop_when_done()

    async def cancel(self) -> None:
        """Ends the conversation now."""
        await self._worker.cancel()

    def _greet_once(self) -> None:
        greeted = False

        @self._worker.rtvi.event_handler("on_client_ready")
        async def greet(rtvi) -> None:
            # A client may say that it is ready as often as it likes.
            nonlocal greeted
            if greeted:
                return
            greeted = True
            await self._tell_voice(self.mouth.news)
            if self._persona.greeting:
                await self._worker.queue_frame(TTSSpeakFrame(self._persona.greeting))

    def _report_voice(self) -> None:
        """Tells the page when another engine speaks from now on."""
        switcher = self.mouth.switcher
        if switcher is None:
            return

        @switcher.strategy.event_handler("on_service_switched")
        async def tell(strategy, service) -> None:
            news = VoiceNews("csm") if service is switcher.csm else VoiceNews("kokoro", _CSM_AWAY)
            logger.info(f"Session {self.name}: {news.engine} speaks from now on.")
            self._metrics.voice_switches.labels(news.engine).inc()
            await self._tell_voice(news)

    def _take_playout_reports(self) -> None:
        conversation = self.mouth.conversation
        if conversation is None:
            return

        @self._worker.rtvi.event_handler("on_client_message")
        async def take(rtvi, message: ClientMessage) -> None:
            take_report(message, conversation.playout)

    async def _tell_voice(self, news: VoiceNews) -> None:
        message = {"type": "voice", "name": self._persona.display_name, **asdict(news)}
        await self._worker.rtvi.send_server_message(message)

    def _report_turns(
        self, aggregators: LLMContextAggregatorPair, latency: UserBotLatencyObserver
    ) -> None:
        @latency.event_handler("on_latency_breakdown")
        async def report(observer, breakdown: LatencyBreakdown) -> None:
            turn = from_breakdown(breakdown)
            if turn is None:
                return
            self._turns += 1
            self._metrics.turns.inc()
            self._metrics.voice_to_voice.observe(turn.total_s)
            for stage, seconds in turn.stages_s.items():
                self._metrics.stage_latency.labels(stage).observe(seconds)
            await self._worker.rtvi.send_server_message(turn.message(self._turns))

        @aggregators.assistant().event_handler("on_assistant_turn_stopped")
        async def count(aggregator, message: AssistantTurnStoppedMessage) -> None:
            if message.interrupted:
                self._metrics.interruptions.inc()
                if message.content:
                    await self._tell_heard()

        if self.mouth.conversation is not None:

            @aggregators.assistant().event_handler("on_corrected")
            async def tell(aggregator) -> None:
                await self._tell_heard()

    async def _tell_heard(self) -> None:
        """Has the page's caption end where the conversation does: its words may have run ahead."""
        text = said_since_the_caller(self.context.get_messages())
        await self._worker.rtvi.send_server_message({"type": "heard", "text": text})

    def _report_errors(self) -> None:
        @self._worker.event_handler("on_pipeline_error")
        async def tell(worker, frame: ErrorFrame) -> None:
            stage, words = _stage_of(frame)
            self._metrics.errors.labels(stage).inc()
            logger.error(f"Session {self.name}: {stage}: {frame.error}")
            # The language model's errors are told by the Apology, beside the spoken one.
            if words is not None:
                await self._worker.queue_frame(notice(words))

    def _end_with(self, transport: BaseTransport) -> None:
        @transport.event_handler("on_client_disconnected")
        async def end(transport, client) -> None:
            await self._worker.cancel()


def said_since_the_caller(messages: Sequence[Any]) -> str:
    """All that the agent has said since the caller last did, in one text."""
    said: list[str] = []
    for message in reversed(messages):
        match message:
            case {"role": "user"}:
                break
            case {"role": "assistant", "content": str(text)}:
                said.append(text)
    return " ".join(reversed(said))


def _stage_of(frame: ErrorFrame) -> tuple[str, str | None]:
    match frame.processor:
        case STTService():
            return "stt", "Your last words could not be recognised. Please say them again."
        case TTSService() | ServiceSwitcher():
            return "tts", "The answer could not be spoken."
        case LLMService():
            return "llm", None
        case _:
            return "pipeline", "Something went wrong in this conversation."
