"""One sentence while CSM speaks it: its sound, and which words begin in it."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from pipecat_csm.engine.speech import Frame, Speech
from pipecat_csm.errors import CSMError, EngineClosedError
from pipecat_csm.model.config import FRAME_HZ
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.listening_back import ListeningBack
from pipecat_csm.services.metrics import ReplyMeter
from pipecat_csm.services.spoken import words_awaited
from pipecat_csm.services.word_times import Voice, WordTimes

# A device that makes nothing for so long, though there is room for it, hangs. A CPU that has to
# read a whole context anew takes six.
_HANGS_S = 20.0
_HANGS = (
    f"CSM has made no sound for {_HANGS_S:.0f} s: its device hangs, or has too much else to do."
)


@dataclass(frozen=True)
class Sound:
    """What is heard next of a sentence.

    Attributes:
        audio: float32 [samples] at 24 kHz; empty at the end.
        words: Those that begin, with their seconds from the start of the turn.
    """

    audio: NDArray[np.float32]
    words: list[tuple[str, float]] = field(default_factory=list)


class CutShort(Exception):
    """A sentence that was not spoken to its end.

    Attributes:
        error: Why.
        rest: The words that were not said.
        late: Words that were, and are not announced yet.
    """

    def __init__(
        self, error: Exception, rest: str, late: list[tuple[str, float]] | None = None
    ) -> None:
        unknown = f"The voice failed on a piece of text, and goes on with the next: {error!r}"
        super().__init__(str(error) if isinstance(error, CSMError) else unknown)
        self.error, self.rest, self.late = error, rest, late or []


class Sentence:
    """Has a conversation speak a sentence of a turn."""

    def __init__(
        self,
        conversation: CSMConversation,
        text: str,
        turn: str,
        *,
        manner: Voice | None = None,
        listening_back: ListeningBack | None = None,
    ) -> None:
        """Says nothing yet.

        Args:
            conversation: Speaks.
            text: Normalised; one Segment's.
            turn: Whose sentence it is.
            manner: How the voice speaks, learned from the sentences before.
            listening_back: Corrects the words' times when it is made.
        """
        self.manner = manner
        """What has been learned with it."""
        self._conversation, self._text, self._turn = conversation, text, turn
        self._listening_back = listening_back

    async def sounds(self, meter: ReplyMeter, thread: Executor) -> AsyncGenerator[Sound]:
        """Speaks it; whoever takes no more closes the generator, and the rest is never made.

        Args:
            meter: Measures the turn.
            thread: Waits for frames.

        Raises:
            CutShort: Something failed.
        """
        text = self._text
        try:
            speech, begins_s = await self._conversation.speak(text, self._turn)
        except Exception as error:
            raise CutShort(error, text) from error
        meter.began(self._conversation.positions)
        # What Pipecat does not wait for it would take for the start of the next sentence.
        words, awaited, taken = WordTimes(text, self.manner), words_awaited(text), 0
        made: list[NDArray[np.float32]] = []

        def in_turn(found: list[tuple[str, float]]) -> list[tuple[str, float]]:
            return [(word, begins_s + start_s) for word, start_s in found]

        try:
            while (frame := await _taken(speech, thread)) is not None:
                taken += 1
                meter.made(1 / FRAME_HZ, goes_on=speech.has_room(0))
                if self._listening_back is not None:
                    made.append(frame.audio)
                room = max(0, awaited - words.announced)
                yield Sound(frame.audio, in_turn(words.feed(frame.audio)[:room]))
            if speech.ending == "cancelled" and not speech.cancelled:
                raise EngineClosedError("The engine has stopped in the middle of a reply.")
            room = max(0, awaited - words.announced)
            yield Sound(np.zeros(0, np.float32), in_turn(words.rest()[:room]))
            self.manner = words.voice
            if self._listening_back is not None:
                self._listening_back.hear(text, made, words)
            if speech.runaway is not None:
                logger.warning(f"CSM ran away on {text[:40]!r}: {speech.runaway}; cut off.")
        except Exception as error:
            said = words.words_until(taken / FRAME_HZ).split()
            late = [(word, taken / FRAME_HZ) for word in said[words.announced : awaited]]
            begun = max(words.announced, len(said))
            raise CutShort(error, " ".join(text.split()[begun:]), in_turn(late)) from error
        finally:
            self._conversation.spoken(self._turn, text, speech, taken, words.words_until)


async def _taken(speech: Speech, thread: Executor) -> Frame | None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return await loop.run_in_executor(thread, speech.take, _HANGS_S)
        except TimeoutError:
            if speech.has_room(0):
                raise CSMError(_HANGS) from None
