"""What decides that the caller has finished: Pipecat's strategies, made patient and quick."""

from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.turns.user_stop import (
    BaseUserTurnStopStrategy,
    SpeechTimeoutUserTurnStopStrategy,
    TurnAnalyzerUserTurnStopStrategy,
)

from agent.owed_words import OwedWords
from agent.settings import TurnSettings, VADSettings
from agent.speculation import Speculating


class SmartTurnEnd(OwedWords, TurnAnalyzerUserTurnStopStrategy):
    """Pipecat's smart-turn strategy, on all that the caller said."""


class SilenceTurnEnd(OwedWords, SpeechTimeoutUserTurnStopStrategy):
    """Pipecat's silence timeout, on all that the caller said."""


class SpeculatingSmartTurnEnd(OwedWords, Speculating, TurnAnalyzerUserTurnStopStrategy):
    """The same; where it waits for more words, an answer is thought of."""


class SpeculatingSilenceTurnEnd(OwedWords, Speculating, SpeechTimeoutUserTurnStopStrategy):
    """The same; while the timeout runs, an answer is thought of."""


def build_turn_end(settings: TurnSettings, vad: VADSettings) -> BaseUserTurnStopStrategy:
    """What the settings name: smart-turn beside a timeout, or the timeout alone."""
    # Both count from where the VAD noticed the silence.
    silence_s = max(0.0, settings.silence_s - vad.stop_s)
    if settings.detector == "smart":
        analyzer = LocalSmartTurnAnalyzerV3(params=SmartTurnParams(stop_secs=silence_s))
        smart = SpeculatingSmartTurnEnd if settings.speculate else SmartTurnEnd
        return smart(turn_analyzer=analyzer)
    silence = SpeculatingSilenceTurnEnd if settings.speculate else SilenceTurnEnd
    return silence(user_speech_timeout=silence_s)
