"""What the caller says becomes a Segment: his sound is encoded while he speaks."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from loguru import logger
from numpy.typing import NDArray
from pipecat.audio.utils import create_stream_resampler
from torch import Tensor

from pipecat_csm.audio import loudness_gain
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.listening import Listening
from pipecat_csm.errors import CSMError
from pipecat_csm.history import SegmentHistory
from pipecat_csm.model.config import SAMPLE_RATE_HZ
from pipecat_csm.segment import Segment

# Voice activity is noticed this long after it begins, or a little less.
_BEFORE_S = 0.5
# What may wait to be encoded, in pieces of sound (20 ms from most transports): a device that falls
# further behind than half a minute does not catch up.
_WAITING = 1500
# Of a pause within an utterance so much is kept: enough to hear as one, too little to fill the
# context with nothing.
_PAUSE_S = 0.8
_AFTER_S = 0.2
# Words that have not come so long after a turn ended without any never will.
_LATE_S = 10.0


class Caller:
    """One caller's ear: sound in, a Segment in the history when its words are known.

    Called on the event loop; encoding runs on a thread of its own, in order.
    """

    def __init__(self, engine: Engine, history: SegmentHistory, speaker: int = 1) -> None:
        """Hears nothing yet.

        Args:
            engine: Encodes.
            history: Gets the Segments.
            speaker: The caller's number.
        """
        self.engine, self.speaker = engine, speaker
        self._history = history
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="csm-caller")
        self._resampler = create_stream_resampler()
        self._recent: deque[NDArray[np.float32]] = deque()
        self._recent_s = 0.0
        self._quiet_s = _BEFORE_S  # since the agent was audible
        self._pause: list[NDArray[np.float32]] = []
        self._listening: Listening | None = None
        self._speaking = False
        # Since his turn ended, if no words have come: they are late, or he only coughed.
        self._wordless_s: float | None = None
        self._waiting = 0
        # How loud he was in his last turn: of this one it is not known before its end.
        self._gain = 1.0
        self._turn: list[NDArray[np.float32]] = []
        self._turns = 0
        self._settled = asyncio.Event()
        self._settled.set()

    async def hear(self, pcm: bytes, rate_hz: int, *, echo: bool = False) -> None:
        """Takes what the microphone heard next.

        Args:
            pcm: 16-bit mono.
            rate_hz: Its rate.
            echo: The agent is audible, so that this may be its echo.
        """
        if rate_hz != SAMPLE_RATE_HZ:
            pcm = await self._resampler.resample(pcm, rate_hz, SAMPLE_RATE_HZ)
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
        self._quiet_s = 0.0 if echo else self._quiet_s + len(samples) / SAMPLE_RATE_HZ
        if self._speaking:
            self._feed(samples)
        elif self._listening is not None:
            self._pause.append(samples)
            # Its beginning and its end are all that may be wanted.
            if sum(map(len, self._pause)) > 2 * (_PAUSE_S + _AFTER_S) * SAMPLE_RATE_HZ:
                del self._pause[len(self._pause) // 2]
        else:
            self._remember(samples)
        if self._wordless_s is not None:
            self._wordless_s += len(samples) / SAMPLE_RATE_HZ
            if self._wordless_s > _LATE_S:
                self._forget()

    def voice_began(self, noticed_after_s: float = 0.0) -> None:
        """The voice activity detector hears speech.

        What was heard before that is his too, as far back as it is not the agent's echo.

        Args:
            noticed_after_s: For so long he has been speaking already.
        """
        self._speaking = True
        self._wordless_s = None
        is_new = self._listening is None
        if is_new:
            self._listening = self._listen()
        before_s = max(noticed_after_s, min(self._quiet_s, _BEFORE_S if is_new else _PAUSE_S))
        for samples in _last([*self._recent] if is_new else self._pause, before_s):
            self._feed(samples)
        self._recent.clear()
        self._recent_s = 0.0
        self._pause.clear()

    def voice_ended(self) -> None:
        """It hears none any more; more may follow in the same turn."""
        self._speaking = False

    def turn_began(self) -> None:
        """The caller has taken the turn: who answers waits for his Segment."""
        self._wordless_s = None
        self._turns += 1
        self._settled.clear()

    async def turn_said(self, text: str) -> None:
        """These are the words of what was heard since the last ones.

        Sound without words, and words without sound (typed ones), make no Segment.
        """
        listening, self._listening = self._listening, None
        self._wordless_s = None
        sound, self._turn = self._turn, []
        turn = self._turns
        for samples in _first(self._pause, _AFTER_S):
            if listening is not None:
                self._submit(listening.feed, samples)
        self._pause.clear()
        try:
            if listening is not None and text.strip():
                codes = await self._run(listening.finish)
                if len(codes):
                    self._history.add(Segment(text.strip(), self.speaker, codes=codes))
                self._gain = loudness_gain(torch.from_numpy(np.concatenate(sound)))
        except CSMError as error:
            # The conversation goes on; only the sound of this turn conditions nothing.
            logger.warning(f"What the caller said is not in the voice's context: {error}")
        finally:
            if turn == self._turns:  # else the next one's is waited for
                self._settled.set()
            # He may have gone on meanwhile.
            if self._speaking and self._listening is None:
                self._listening = self._listen()

    def turn_was_empty(self) -> None:
        """The turn ended without words: a cough, or they are late.

        Its sound is kept for them for a while, and goes on if he does; nobody waits for it now.
        """
        if self._listening is not None and not self._speaking:
            self._wordless_s = 0.0
        self._settled.set()

    async def settled(self, within_s: float) -> bool:
        """Waits until the turn that is to be answered is in the history.

        Returns:
            False if it is not within the time, and the answer should go on without it.
        """
        try:
            await asyncio.wait_for(self._settled.wait(), within_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Forgets what was not finished; a second time does nothing."""
        # It may be encoding a piece, for which nobody need wait.
        self._listening = None
        self._settled.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _listen(self) -> Listening | None:
        self._turn = []
        if not self.engine.alive:  # which others have said
            return None
        try:
            return self.engine.listen(gain=self._gain)
        except CSMError as error:
            logger.warning(f"The voice does not hear the caller: {error}")
            return None

    def _forget(self) -> None:
        """What nobody gave words to was no speech."""
        if self._listening is not None:
            self._submit(self._listening.cancel)
        self._listening, self._wordless_s = None, None
        for samples in self._pause:  # it may be the beginning of what he says next
            self._remember(samples)
        self._pause.clear()

    def _remember(self, samples: NDArray[np.float32]) -> None:
        self._recent.append(samples)
        self._recent_s += len(samples) / SAMPLE_RATE_HZ
        while self._recent_s > _BEFORE_S:
            self._recent_s -= len(self._recent.popleft()) / SAMPLE_RATE_HZ

    def _feed(self, samples: NDArray[np.float32]) -> None:
        if self._listening is not None:
            if len(self._turn) < _WAITING:
                self._turn.append(samples)
            self._submit(self._listening.feed, samples)

    def _submit(self, work: Callable[..., None], *args: Any) -> None:
        if self._waiting >= _WAITING:
            return
        self._waiting += 1
        self._thread.submit(work, *args).add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        self._waiting -= 1
        if not future.cancelled() and (error := future.exception()) is not None:
            # Said once per utterance: what follows in it is refused for the same reason.
            logger.debug(f"A piece of the caller's sound was not encoded: {error}")

    async def _run(self, work: Callable[[], Tensor]) -> Tensor:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _first(pieces: list[NDArray[np.float32]], seconds: float) -> list[NDArray[np.float32]]:
    """The beginning of some sound."""
    joined = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return [joined[: int(seconds * SAMPLE_RATE_HZ)]]


def _last(pieces: list[NDArray[np.float32]], seconds: float) -> list[NDArray[np.float32]]:
    """The end of some sound."""
    joined = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return [joined[max(0, len(joined) - int(seconds * SAMPLE_RATE_HZ)) :]]
