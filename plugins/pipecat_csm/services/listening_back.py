"""Somebody listens to what CSM has said, so that a cut falls at the right word whatever it said."""

import asyncio
from collections.abc import Sequence

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from pipecat_csm.services.whisper_times import Listener, align_with_whisper
from pipecat_csm.services.word_times import WordTimes

# A sentence that takes longer to be heard has been played by then.
_WITHIN_S = 10.0


class ListeningBack:
    """Corrects the word times of finished sentences, one after another, while they are played."""

    def __init__(self, listener: Listener, *, most_waiting: int = 4) -> None:
        """Listens to nothing yet.

        Args:
            listener: Hears words, such as `pipecat_whisper.WhisperEngine`.
            most_waiting: Above as many sentences the next ones keep their estimates.
        """
        self._listener, self._most_waiting = listener, most_waiting
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def hear(self, text: str, sound: Sequence[NDArray[np.float32]], words: WordTimes) -> None:
        """Listens to a sentence in the background.

        Args:
            text: Its words.
            sound: Its frames, float32 [samples] at 24 kHz each.
            words: Is finished, and gets corrected.
        """
        if len(self._tasks) >= self._most_waiting or not sound:
            return
        task = asyncio.create_task(self._hear(text, np.concatenate(sound), words))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Listens no more; a second time does nothing."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, text: str, sound: NDArray[np.float32], words: WordTimes) -> None:
        try:
            async with self._one_at_a_time, asyncio.timeout(_WITHIN_S):
                words.correct(
                    await align_with_whisper(sound, text, self._listener, estimate=words.finish())
                )
        except Exception as error:  # the estimate stays, which is good enough
            logger.debug(f"Nobody has listened to {text[:40]!r}: {error!r}")
