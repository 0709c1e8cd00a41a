"""The pipeline of one conversation, from ear to mouth."""

from dataclasses import dataclass

from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.transports.base_transport import BaseTransport
from pipecat.turns.user_stop import (
    BaseUserTurnStopStrategy,
    SpeechTimeoutUserTurnStopStrategy,
    TurnAnalyzerUserTurnStopStrategy,
)
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat_webrtcvad import HybridVADAnalyzer, WebRTCVADAnalyzer

from agent.apology import Apology
from agent.context_limit import ContextLimit
from agent.draft import Draft
from agent.input_audio import InputAudioNormalizer
from agent.persona import Persona
from agent.services import Services
from agent.settings import Settings, TurnSettings, VADSettings
from agent.speaking.mouth import Mouth
from agent.speculation import SpeculatingSpeechTimeoutStop, SpeculatingTurnAnalyzerStop

# Whisper, Silero and smart-turn hear 16 kHz; Kokoro and CSM speak 24 kHz.
AUDIO_IN_HZ = 16_000
AUDIO_OUT_HZ = 24_000
_EMPTY_TURN_S = 3.0


@dataclass(frozen=True)
class Ears:
    """What tells when the caller speaks and when he has finished; one pair per conversation."""

    vad: VADAnalyzer
    turn_stop: BaseUserTurnStopStrategy


def load_ears(settings: Settings) -> Ears:
    """Loads their small models; takes tens of milliseconds, so call it off the event loop."""
    return Ears(build_vad(settings.vad), build_turn_stop(settings.turn, settings.vad))


def build_pipeline(
    transport: BaseTransport, persona: Persona, services: Services, ears: Ears, mouth: Mouth
) -> tuple[Pipeline, LLMContextAggregatorPair]:
    """Builds one caller's pipeline; only the models behind `services` are shared.

    Returns:
        The pipeline, and the aggregators that keep the conversation for the language model.
    """
    context = LLMContext(services.opening_messages(persona))  # type: ignore[arg-type]
    aggregators = mouth.aggregators(
        context,
        LLMUserAggregatorParams(
            vad_analyzer=ears.vad,
            # A cough opens a turn that nothing but this closes.
            user_turn_stop_timeout=_EMPTY_TURN_S,
            user_turn_strategies=UserTurnStrategies(stop=[ears.turn_stop]),
        ),
    )
    pipeline = Pipeline(
        [
            transport.input(),
            InputAudioNormalizer(),
            services.build_stt(persona),
            aggregators.user(),
            *mouth.behind_user,
            ContextLimit(context, services.context_chars(persona)),
            Apology(persona.apology),
            services.build_llm(persona, Draft(mouth.prepare, mouth.aggregator)),
            mouth.tts,
            *mouth.before_output,
            transport.output(),
            *mouth.behind_output,
            aggregators.assistant(),
        ]
    )
    return pipeline, aggregators


def build_vad(settings: VADSettings) -> VADAnalyzer:
    """The voice activity detector that the settings name."""
    params = VADParams(
        confidence=settings.confidence,
        start_secs=settings.start_s,
        stop_secs=settings.stop_s,
        min_volume=settings.min_volume,
    )
    match settings.engine:
        case "silero":
            return SileroVADAnalyzer(params=params)
        case "webrtc":
            return WebRTCVADAnalyzer(params=params, mode=settings.aggressiveness)
        case "hybrid":
            return HybridVADAnalyzer(params=params, mode=settings.aggressiveness)


def build_turn_stop(settings: TurnSettings, vad: VADSettings) -> BaseUserTurnStopStrategy:
    """What decides that the caller has finished: smart-turn beside a timeout, or the timeout."""
    # Both count from where the VAD noticed the silence.
    silence_s = max(0.0, settings.silence_s - vad.stop_s)
    if settings.detector == "smart":
        analyzer = LocalSmartTurnAnalyzerV3(params=SmartTurnParams(stop_secs=silence_s))
        smart = (
            SpeculatingTurnAnalyzerStop if settings.speculate else TurnAnalyzerUserTurnStopStrategy
        )
        return smart(turn_analyzer=analyzer)
    silence = (
        SpeculatingSpeechTimeoutStop if settings.speculate else SpeechTimeoutUserTurnStopStrategy
    )
    return silence(user_speech_timeout=silence_s)
