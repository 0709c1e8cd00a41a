"""A persona's recordings as CSM takes them. The one module here that needs torch."""

from pipecat_csm import Segment
from pipecat_csm.audio import to_model_audio
from pipecat_csm.text import normalise

from agent.persona import Persona
from agent.reference import reference_path
from agent.voices.recording import SAMPLE_RATE_HZ, read_recording


def reference_segments(persona: Persona) -> list[Segment]:
    """The references as Segments, in their order; none if the persona has none.

    Raises:
        ConfigError: A recording cannot be read.
        CSMError: Its sound or its words cannot be used.
    """
    voice = persona.voice
    return [
        Segment(
            normalise(reference.text),
            voice.speaker,
            audio=to_model_audio(
                read_recording(reference_path(persona.folder, reference)).mono(), SAMPLE_RATE_HZ
            ),
        )
        for reference in voice.references
    ]
