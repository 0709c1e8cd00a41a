"""What a session may choose, and change while it runs."""

from dataclasses import dataclass, field

from pipecat.services.settings import STTSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven, assert_given

from pipecat_whisper.decoder import FULL_WINDOW_S
from pipecat_whisper.engine import WhisperEngine


@dataclass
class WhisperSTTSettings(STTSettings):
    """Settings of `WhisperSTTService`; see there for the defaults.

    `model` is only a name for the metrics: the model itself is the engine's. `language` None
    detects the language of every segment.

    Parameters:
        initial_prompt: A sentence in the style and spelling that the transcripts should have.
        hotwords: Words to expect, as product names.
        no_speech_prob: A segment with a higher probability of silence, and with a text less sure
            than `min_avg_logprob`, is taken for a noise.
        min_avg_logprob: See `no_speech_prob`.
        interim_interval_s: Seconds between two decodes of what has been said so far; 0 turns
            interim transcripts off.
        eager_final: Decode as soon as the voice pauses, and use that for the final when the VAD
            then finds that the speech was over.
        max_segment_s: Longer speech is cut, at its quietest moment, into several finals. At most
            30; a few seconds less leave the decoder room to see the end.
    """

    initial_prompt: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    hotwords: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    no_speech_prob: float | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    min_avg_logprob: float | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    interim_interval_s: float | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    eager_final: bool | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    max_segment_s: float | NotGiven = field(default_factory=lambda: NOT_GIVEN)


def find_problem(settings: WhisperSTTSettings, engine: WhisperEngine) -> str | None:
    """Says in one sentence why complete settings don't go with the engine; None when they do."""
    if settings.model != engine.name:
        return (
            f"The model is the engine's, {engine.name!r}, not {settings.model!r}: "
            "make a service with another engine for another model."
        )
    language = assert_given(settings.language)
    if language is not None and language not in engine.languages:
        known = ", ".join(sorted(engine.languages))
        return f"Whisper model {engine.name!r} knows {known}, but not {language!r}."
    if not 1.0 <= assert_given(settings.max_segment_s) <= FULL_WINDOW_S:
        return f"max_segment_s is from 1 to 30, not {settings.max_segment_s}."
    if assert_given(settings.interim_interval_s) < 0:
        return f"interim_interval_s is 0 or more, not {settings.interim_interval_s}."
    return None
