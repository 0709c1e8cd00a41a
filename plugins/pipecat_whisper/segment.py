"""The sound of one stretch of speech, from a little before it until the VAD hears it end.

Everything here belongs to one session and runs on its event loop.
"""

import asyncio
from collections import deque
from contextlib import suppress

import numpy as np

from pipecat_whisper.decoder import SAMPLE_RATE_HZ

# A voice 20 dB below its loudest, for this long, pauses. Shorter gaps are stop consonants.
_PAUSE_LEVEL = 0.1
_PAUSE_S = 0.16
# A VAD takes the last breath of a word for silence; what covers the end goes on for this long.
_END_MARGIN_S = 0.05
_CUT_SEARCH_S = 3.0
_CUT_HOP_S = 0.05
# Of the sound before the VAD spoke up: always kept, and kept before the first voice further back.
_NEAR_HOPS = 16
_LEAD_HOPS = 4


class PreRoll:
    """The last moments of sound, because a VAD only knows of speech after it began."""

    def __init__(self, length_s: float) -> None:
        """Remembers at least `length_s` seconds, and at most one frame more."""
        self._limit = int(length_s * SAMPLE_RATE_HZ)
        self._chunks: deque[np.ndarray] = deque()
        self._samples = 0

    def append(self, samples: np.ndarray) -> None:
        """Adds the newest sound and forgets the oldest."""
        self._chunks.append(samples)
        self._samples += len(samples)
        while self._samples - len(self._chunks[0]) >= self._limit:
            self._samples -= len(self._chunks.popleft())

    def take(self) -> np.ndarray:
        """Hands over what it remembers, float32 [samples], and forgets it."""
        samples = np.concatenate([np.zeros(0, np.float32), *self._chunks])
        self._chunks.clear()
        self._samples = 0
        return samples

    def take_opening(self) -> np.ndarray:
        """Takes the last moments whole, and of what lies before them only from the voice on.

        A VAD knows of speech a fifth of a second after it began; on a busy machine it may lag by
        seconds, and the words of that time must not be lost.
        """
        samples = self.take()
        hop = int(_CUT_HOP_S * SAMPLE_RATE_HZ)
        hops = samples[: len(samples) // hop * hop].reshape(-1, hop)
        levels = np.sqrt(np.square(hops).mean(axis=1))
        voiced = np.flatnonzero(levels > _PAUSE_LEVEL * levels.max(initial=0.0))
        whole = max(0, len(hops) - _NEAR_HOPS)
        first = min(voiced[0] - _LEAD_HOPS, whole) if len(voiced) else whole
        return samples[max(0, first) * hop :]


class Segment:
    """Speech that grows until it is closed; a reader may wait for its pauses and its end."""

    def __init__(self, opening: np.ndarray, *, user_id: str, notice_pauses: bool) -> None:
        """Opens a segment.

        Args:
            opening: What was heard before, float32 [samples] at 16 kHz.
            user_id: Who speaks, as the transport calls them.
            notice_pauses: Whether a pause wakes the reader.
        """
        self.user_id = user_id
        self.closed = False
        self._chunks = [opening]
        self._samples = len(opening)
        self._speech_end = 0
        self._news = asyncio.Event()
        self._notice_pauses = notice_pauses
        self._loudest = 0.0
        self._quiet = 0

    @property
    def duration_s(self) -> float:
        """Length so far."""
        return self._samples / SAMPLE_RATE_HZ

    def append(self, samples: np.ndarray) -> None:
        """Adds float32 [samples] at 16 kHz."""
        if not len(samples):
            return
        self._chunks.append(samples)
        self._samples += len(samples)
        if self._notice_pauses:
            self._listen_for_pause(samples)

    def audio(self) -> np.ndarray:
        """All of it so far, float32 [samples]."""
        self._chunks = [np.concatenate(self._chunks)]
        return self._chunks[0]

    def close(self, silence_s: float = 0.0) -> None:
        """Ends the segment, whose last `silence_s` seconds the VAD found silent."""
        margin_s = min(_END_MARGIN_S, silence_s)
        self._speech_end = self._samples - int((silence_s - margin_s) * SAMPLE_RATE_HZ)
        self.closed = True
        self._news.set()

    def cut(self) -> np.ndarray:
        """Closes the segment at its quietest recent moment; returns the sound after it."""
        audio = self.audio()
        hop = int(_CUT_HOP_S * SAMPLE_RATE_HZ)
        recent = audio[-min(int(_CUT_SEARCH_S * SAMPLE_RATE_HZ), len(audio) // 2) :]
        recent = recent[: len(recent) // hop * hop].reshape(-1, hop)
        quietest = int(np.argmin(np.square(recent).sum(axis=1)))
        split = len(audio) - recent.size + quietest * hop + hop // 2
        self._chunks, self._samples = [audio[:split]], split
        self.close()
        return audio[split:]

    def is_covered_by(self, samples: int) -> bool:
        """Whether its first `samples` samples hold all of the speech."""
        return self.closed and samples >= self._speech_end

    async def wait(self, timeout_s: float | None) -> None:
        """Returns when the voice pauses, when the segment closes, or after the timeout."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        if not self.closed:
            self._news.clear()

    def _listen_for_pause(self, samples: np.ndarray) -> None:
        level = float(np.sqrt(np.square(samples).mean()))
        self._loudest = max(self._loudest, level)
        if level > _PAUSE_LEVEL * self._loudest:
            self._quiet = 0
            return
        enough = int(_PAUSE_S * SAMPLE_RATE_HZ)
        was_short = self._quiet < enough
        self._quiet += len(samples)
        if was_short and self._quiet >= enough:
            self._news.set()
