"""What is said in a recording: in one go, or in pieces that let conversations go first.

All conversations of a server share one Whisper, which decodes one thing after another. A caller
who has just finished his turn must not wait until half a minute of a recording is decoded: so in
company a recording is heard in pieces, each only while nobody else is being heard. Pieces cost a
little: a sentence that is cut gets a full stop of its own.
"""

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pipecat_whisper import EngineBusyError, WhisperEngine
from pipecat_whisper.transcript import Transcript

from agent.voices.speech import FRAME_S, SAMPLE_RATE_HZ, SpeechMap

# A piece of 8 s takes Whisper about as long as a short turn does: it never hears less than 10 s.
_SHORTEST_S, _LONGEST_S = 2.0, 8.0
_PAUSE_FRAMES = 8
_ASK_AGAIN_S = 0.1
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Heard:
    """What Whisper made of a recording.

    Attributes:
        text: The words.
        avg_logprob: How sure it was of a token; closer to 0 is surer.
        is_speech: Whether it believes that somebody spoke.
    """

    text: str
    avg_logprob: float
    is_speech: bool


def listen(whisper: WhisperEngine, speech: SpeechMap) -> Heard:
    """Hears a recording in one go. Not for an event loop's thread.

    Raises:
        WhisperEngineError: Too many wait, the engine is closed, or the model failed.
    """
    transcript = asyncio.run(whisper.transcribe(speech.samples))
    return Heard(transcript.text, transcript.avg_logprob, transcript.is_speech())


def listen_in_company(whisper: WhisperEngine, speech: SpeechMap) -> Heard:
    """Hears a recording in pieces, between what callers say. Not for an event loop's thread.

    Raises:
        WhisperEngineError: Callers leave no room for a minute, the engine is closed, or the model
            failed.
    """
    parts = pieces(speech)
    heard = [asyncio.run(_patiently(whisper, part)) for part in parts]
    lengths = [len(part) for part in parts]
    return Heard(
        " ".join(one.text for one in heard if one.is_speech()),
        float(np.average([one.avg_logprob for one in heard], weights=lengths)),
        any(one.is_speech() for one in heard),
    )


def pieces(speech: SpeechMap) -> list[NDArray[np.float32]]:
    """A recording in pieces of 2 to 8 s, cut where a pause is likeliest."""
    unlikely = np.convolve(speech.probabilities, np.ones(_PAUSE_FRAMES) / _PAUSE_FRAMES, "same")
    shortest, longest = int(_SHORTEST_S / FRAME_S), int(_LONGEST_S / FRAME_S)
    cuts = [0]
    while len(unlikely) - cuts[-1] > longest:
        first, end = cuts[-1] + shortest, min(cuts[-1] + longest, len(unlikely) - shortest)
        cuts.append(first + int(np.argmin(unlikely[first:end])))
    return np.split(speech.samples, [round(cut * FRAME_S * SAMPLE_RATE_HZ) for cut in cuts[1:]])


async def _patiently(whisper: WhisperEngine, piece: NDArray[np.float32]) -> Transcript:
    for _ in range(int(_PATIENCE_S / _ASK_AGAIN_S)):
        try:
            # An interim runs only while nobody else is heard.
            transcript = await whisper.transcribe(piece, priority="interim")
        except EngineBusyError:
            await asyncio.sleep(_ASK_AGAIN_S)
            continue
        # An accident is rare, and worth a place in the queue.
        return transcript if transcript.is_sound else await whisper.transcribe(piece)
    return await whisper.transcribe(piece)
