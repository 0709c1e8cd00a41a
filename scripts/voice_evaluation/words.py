"""Were the words understood? What Whisper hears, against the text."""

import asyncio

from numpy.typing import NDArray
from pipecat_whisper import WhisperEngine
from whisper_normalizer.english import EnglishTextNormalizer

from agent.models import resolve
from agent.voices.words import Comparison

# As in Whisper's paper: what sounds the same is the same, however it is spelled.
_normalise = EnglishTextNormalizer()


class Listener:
    """Whisper at its best: five beams, its own window, and a second try where it went wrong."""

    def __init__(self, model: str) -> None:
        """Loads a model.

        Args:
            model: A name, such as tiny.en, or a folder.

        Raises:
            ModelError: It is not here.
            WhisperEngineError: It cannot be loaded.
        """
        self._engine = WhisperEngine(resolve(model, "whisper"), beam_size=5, min_window_s=30.0)

    def close(self) -> None:
        """Lets the model go."""
        self._engine.close()

    def hear(self, audio: NDArray) -> str:
        """The words in float32 [samples] at 16 kHz; empty if nobody speaks."""
        if not len(audio):
            return ""
        heard = asyncio.run(self._engine.transcribe(audio))
        return heard.text if heard.is_speech() else ""


def compare(said: str, heard: str) -> Comparison:
    """Word by word, when digits, spelling, contractions and punctuation no longer differ."""
    return Comparison(tuple(_normalise(said).split()), tuple(_normalise(heard).split()))
