"""What a turn is made of: the frames of a voice activity detector and of speech recognition."""

from pipecat.frames.frames import (
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

BEGINS = VADUserStartedSpeakingFrame()


def pauses() -> VADUserStoppedSpeakingFrame:
    return VADUserStoppedSpeakingFrame(stop_secs=0.2)


def words(text: str, *, finalized: bool = True) -> TranscriptionFrame:
    return TranscriptionFrame(text, "caller", "now", finalized=finalized)
