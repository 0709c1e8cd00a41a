"""What the service tells beside Pipecat's transcripts."""

from dataclasses import dataclass

from pipecat.frames.frames import DataFrame


@dataclass
class NothingSaidFrame(DataFrame):
    """A segment of which no transcript comes: it was a noise, or could not be recognised.

    Pipecat has no frame for it, and nothing in Pipecat minds it. Who waits for all the words of a
    turn learns from it that he need not.

    Parameters:
        finalized: As in a `TranscriptionFrame`: nothing more is on its way.
    """

    finalized: bool
