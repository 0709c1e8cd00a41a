"""A checkpoint that speaks, with the project's own engine."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from pipecat_csm import Segment, load_csm_1b
from pipecat_csm.options import sampling_options

from scripts.mini_training.data.corpus import Corpus, Utterance
from scripts.voice_evaluation.speaking import Reply

SPEAKER = 0
_ENDLESS = "no end found"


class Voicebox:
    """A loaded checkpoint.

    Attributes:
        loading_s: How long it took to load, torch itself not counted.
    """

    def __init__(self, checkpoint: Path, temperature: float, top_k: int, seed: int = 0) -> None:
        """Loads it on the CPU, as the agent does: in bfloat16, on our own kernels.

        Raises:
            CheckpointError: It cannot be read.
        """
        began_s = time.perf_counter()
        self._generator = load_csm_1b(
            "cpu", checkpoint=checkpoint, dtype=torch.bfloat16, max_sessions=1
        )
        self.loading_s = time.perf_counter() - began_s
        self._sampling = sampling_options(temperature, top_k, 0.0, seed)

    def __enter__(self) -> "Voicebox":
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets it go."""
        self._generator.close()

    def speak(self, text: str, context: Sequence[Segment], number: int) -> Reply:
        """Says a sentence after some Segments.

        Args:
            text: One sentence.
            context: What was said before, with its sound.
            number: A part of the randomness.
        """
        session = self._generator.engine.open_session(self._sampling)
        try:
            session.sync(context)
            began_s = time.perf_counter()
            speech = session.speak(text, SPEAKER, number=number, lead_s=float("inf"))
            frames = [np.zeros(0, np.float32), *(frame.audio for frame in speech)]
            work_s = time.perf_counter() - began_s
            runaway = None if speech.runaway is None else str(speech.runaway)
            if runaway is None and speech.ending == "limit":
                runaway = _ENDLESS
            return Reply(np.concatenate(frames), work_s, runaway)
        finally:
            session.close()


def segment_of(corpus: Corpus, one: Utterance) -> Segment:
    """An utterance as a Segment of the context."""
    return Segment(one.text, SPEAKER, audio=torch.from_numpy(corpus.audio(one)))
