"""CSM in a conversation, as the live agent has it: one session that has read both speakers."""

import time

import numpy as np
import torch
from numpy.typing import NDArray
from pipecat_csm import Generator, Segment
from pipecat_csm.audio import loudness_gain
from pipecat_csm.engine.runner import SamplingOptions
from pipecat_csm.history import SegmentHistory
from pipecat_csm.text import normalise, split

from scripts.voice_evaluation.reference import Reference
from scripts.voice_evaluation.speaking import Reply

_ENDLESS = "no end found"


class CSMSpeaker:
    """A conversation with a loaded CSM, which it closes."""

    watches = True

    def __init__(
        self, generator: Generator, reference: Reference, sampling: SamplingOptions
    ) -> None:
        """Has a session read the reference.

        Raises:
            CSMError: The recordings cannot be used, or are too long.
        """
        self._generator, self._engine = generator, generator.engine
        self._speaker = reference.speaker
        self._caller = 0 if self._speaker else 1
        self._history = SegmentHistory()
        self._session = self._engine.open_session(sampling, reference.segments)
        self._replies = 0

    def hear(self, text: str, audio: NDArray[np.float32]) -> None:
        """The caller's words and sound become a Segment, which is read before the answer begins.

        Raises:
            CSMError: They cannot be used.
        """
        listening = self._engine.listen(gain=loudness_gain(torch.from_numpy(audio)))
        listening.feed(audio)
        self._history.add(Segment(normalise(text), self._caller, codes=listening.finish()))
        self._session.sync(self._history.segments)

    def reply(self, text: str) -> Reply:
        """Speaks sentence by sentence, each in the context of all before it.

        Raises:
            CSMError: The text cannot be said, or the engine stops.
        """
        turn = f"reply {self._replies}"
        self._replies += 1
        began_s = time.perf_counter()
        frames: list[NDArray[np.float32]] = []
        runaways: list[str] = []
        for piece in split(normalise(text)):
            speech = self._session.speak(piece, self._speaker, context=self._history.segments)
            frames += [frame.audio for frame in speech]
            if speech.runaway is not None:
                runaways.append(str(speech.runaway))
            elif speech.ending == "limit":  # which comes before the watch is sure of a long text
                runaways.append(_ENDLESS)
            if speech.made:
                codes = torch.from_numpy(speech.codes)
                self._history.expect(turn, Segment(piece, self._speaker, codes=codes))
        work_s = time.perf_counter() - began_s
        # All of it was heard; the session reads the end of it while the caller speaks.
        self._history.commit(turn)
        self._session.sync(self._history.segments)
        audio = np.concatenate([np.zeros(0, np.float32), *frames])
        return Reply(audio, work_s, "; ".join(dict.fromkeys(runaways)) or None)

    def close(self) -> None:
        """Gives the session back, and stops the engine."""
        self._session.close()
        self._generator.close()
