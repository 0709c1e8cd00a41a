"""The pipeline of one conversation, from ear to mouth."""

from dataclasses import dataclass

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.transports.base_transport import BaseTransport
from pipecat.turns.user_stop import BaseUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat_webrtcvad import HybridVADAnalyzer, WebRTCVADAnalyzer

from agent.apology import Apology
from agent.context_limit import ContextLimit
from agent.draft import Draft
from agent.input_audio import InputAudioNormalizer
from agent.owed_words import PATIENCE_S
from agent.persona import Persona
from agent.services import Services
from agent.settings import Settings, VADSettings
from agent.speaking.mouth import Mouth
from agent.turn_end import build_turn_end

# Whisper, Silero and smart-turn hear 16 kHz; Kokoro and CSM speak 24 kHz.
AUDIO_IN_HZ = 16_000
AUDIO_OUT_HZ = 24_000


@dataclass(frozen=True)
class Ears:
    """What tells when the caller speaks and when he has finished; one pair per conversation."""

    vad: VADAnalyzer
    turn_stop: BaseUserTurnStopStrategy


def load_ears(settings: Settings) -> Ears:
    """Loads their small models; takes tens of milliseconds, so call it off the event loop."""
    return Ears(build_vad(settings.vad), build_turn_end(settings.turn, settings.vad))


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
            # A cough opens a turn that nothing but this closes, and words may be owed for ever.
            user_turn_stop_timeout=PATIENCE_S,
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
