"""Kokoro-82M, the voice for machines without a GPU: one model, shared by all callers."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from agent.embedded.clauses import split_clauses
from agent.embedded.kokoro_model import (
    SAMPLE_RATE_HZ,
    KokoroError,
    KokoroModel,
    run_options,
)
from agent.embedded.phonemes import Accent, PhonemeWord, Phonemizer
from agent.embedded.styles import VOICES_DIR, Styles
from agent.embedded.word_times import estimate_starts, starts_from_durations

# Memory grows with the length of a run; about fourteen seconds of speech is plenty for a clause.
_LONGEST_RUN = 200
_LEAD_S = 0.02
_TAIL_S = 0.06
_SILENCE = 0.01
_PAUSES_S = {",": 0.12, ";": 0.2, ":": 0.2, "—": 0.2, ".": 0.3, "!": 0.3, "?": 0.3, "…": 0.4}
_PAUSE_ELSEWHERE_S = 0.04
_SLOWEST, _FASTEST = 0.5, 2.0


@dataclass(frozen=True)
class Speech:
    """A piece of text, spoken.

    Attributes:
        audio: float32 [samples] at 24 kHz, ending in the pause that its punctuation asks for.
            Empty if nothing in the text is spoken.
        words: Every whitespace-delimited token of the text with the second it begins at.
    """

    audio: NDArray[np.float32]
    words: tuple[tuple[str, float], ...]

    @property
    def duration_s(self) -> float:
        """Length of the audio."""
        return len(self.audio) / SAMPLE_RATE_HZ


class Kokoro:
    """A loaded voice model. Callers share it; their pieces are spoken first come, first served.

    Everything runs on one thread of its own. A caller has one piece in the queue at a time, so
    a long answer does not keep a short one waiting for more than a clause.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        voices_dir: Path | None = None,
        threads: int = 2,
        max_waiting: int = 32,
    ) -> None:
        """Load the model (half a second; call it off the event loop).

        Args:
            model_path: Kokoro v1.0, ONNX.
            voices_dir: Folder of ``<voice>.bin`` files, float32 [510, 1, 256]; by default
                the voices that ship with the agent.
            threads: Processor threads for the model.
            max_waiting: How many pieces may wait or run before more are refused.

        Raises:
            KokoroError: The model or a voice cannot be loaded.
        """
        self._styles = Styles(voices_dir or VOICES_DIR)
        self._model = KokoroModel(model_path, threads=threads)
        self._phonemizer = Phonemizer()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kokoro")
        self._max_waiting = max_waiting
        self._places = threading.BoundedSemaphore(max_waiting)

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the voices, sorted."""
        return self._styles.names

    def warm_up(self) -> None:
        """Load the pronunciations and speak once, so that the first caller does not wait."""
        self.synthesize("Ready when you are.", self.voices[0])

    def close(self) -> None:
        """Drop what waits and let go of the thread. Safe to call twice."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def check_voice(self, voice: str) -> None:
        """Raise KokoroError if there is no such voice or blend."""
        self._styles.style(voice)

    def synthesize(
        self, text: str, voice: str, speed: float = 1.0, accent: Accent | None = None
    ) -> Speech:
        """Speak a text of any length and wait for it; for threads, not for the event loop.

        Args:
            text: What to say. What cannot be said is passed over.
            voice: One of `voices`, or a blend of them (see `Styles`).
            speed: 0.5 to 2; beyond is brought within.
            accent: By default the voice's own.

        Raises:
            KokoroError: Unknown voice, or too many callers.
        """
        pieces = split_clauses(text)
        return _joined(
            [
                self._submit(
                    Request(piece, voice, speed, accent, final=piece is pieces[-1])
                ).result()
                for piece in pieces
            ]
        )

    async def speak(
        self, text: str, voice: str, speed: float = 1.0, accent: Accent | None = None
    ) -> Speech:
        """Speak a text of any length without blocking the event loop. See `synthesize`."""
        return _joined([piece async for piece in self.stream(text, voice, speed, accent)])

    async def stream(
        self, text: str, voice: str, speed: float = 1.0, accent: Accent | None = None
    ) -> AsyncGenerator[Speech]:
        """Speak a text clause by clause; the first comes early. See `synthesize`.

        Cancelling the caller drops its piece if it waits, and ends it within milliseconds if
        it is being made.
        """
        pieces = split_clauses(text)
        for index, piece in enumerate(pieces):
            request = Request(piece, voice, speed, accent, final=index == len(pieces) - 1)
            future = self._submit(request)
            try:
                speech = await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                request.run.terminate = True
                raise
            yield speech

    def _submit(self, request: "Request") -> Future[Speech]:
        self.check_voice(request.voice)
        if not self._places.acquire(blocking=False):
            raise KokoroError(
                f"The voice is overloaded: {self._max_waiting} pieces of speech are waiting "
                "already. Try again in a moment, or allow fewer sessions."
            )
        try:
            future = self._thread.submit(self._piece, request)
        except RuntimeError as error:
            self._places.release()
            raise KokoroError("The voice has been closed.") from error
        future.add_done_callback(lambda _: self._places.release())
        return future

    def _piece(self, request: "Request") -> Speech:
        accent = request.accent or self._styles.accent(request.voice)
        words = self._phonemizer.words(request.text, accent)
        symbols, owners = _symbols(words, final=request.final)
        speed = min(max(request.speed, _SLOWEST), _FASTEST)
        parts: list[NDArray[np.float32]] = []
        durations: list[float] = []
        for begin, end in _runs(symbols):
            audio, lengths = self._model.run(
                symbols[begin:end], self._styles.style(request.voice), speed, request.run
            )
            audio, cut_s = _trimmed(audio)
            parts.append(audio)
            if lengths is not None:
                ends = np.clip(np.cumsum(lengths) - cut_s, 0.0, len(audio) / SAMPLE_RATE_HZ)
                # The silence on either side belongs to no word.
                inner = np.diff(ends, prepend=0.0)
                inner[-2] += inner[-1]
                inner[1] += inner[0]
                durations.extend(inner[1:-1])
        audio = _concatenated(parts)
        if self._model.has_durations:
            starts = starts_from_durations(owners, np.array(durations), len(words))
        else:
            starts = estimate_starts([word.phonemes for word in words], audio, SAMPLE_RATE_HZ)
        if parts:
            pause_s = _PAUSES_S.get(symbols.rstrip(')"”')[-1:], _PAUSE_ELSEWHERE_S) / speed
            audio = np.append(audio, np.zeros(int(pause_s * SAMPLE_RATE_HZ), np.float32))
        return Speech(audio, tuple(zip((word.text for word in words), starts, strict=True)))


@dataclass(frozen=True)
class Request:
    """One piece in the queue."""

    text: str
    voice: str
    speed: float
    accent: Accent | None
    final: bool
    run: ort.RunOptions = field(default_factory=run_options)


def _symbols(words: list[PhonemeWord], *, final: bool) -> tuple[str, list[int]]:
    """Lay words out as the model's symbols, with the word that each belongs to (or -1)."""
    symbols, owners = "", []
    for index, word in enumerate(words):
        if not word.phonemes:
            continue
        if symbols:
            symbols += " "
            owners.append(-1)
        sounded = False
        for symbol in word.phonemes:
            sounded = sounded or symbol.isalpha() or symbol in "ˈˌ"
            owners.append(index if sounded else -1)
        symbols += word.phonemes
    if not any(owner >= 0 for owner in owners):
        return "", []
    if symbols[-1] not in _PAUSES_S and symbols[-1] not in ')"”':
        # An open end is swallowed. A comma keeps the voice up where the sentence goes on.
        symbols += "." if final else ","
        owners.append(-1)
    return symbols, owners


def _runs(symbols: str) -> Iterator[tuple[int, int]]:
    """Cut what is too long for one run, between words if there is a place."""
    begin = 0
    while begin < len(symbols):
        end = begin + _LONGEST_RUN
        if end < len(symbols):
            end = max(symbols.rfind(" ", begin + _LONGEST_RUN // 2, end) + 1, 0) or end
        yield begin, min(end, len(symbols))
        begin = end


def _trimmed(audio: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Cut silence off both ends; also returns the seconds cut off the front."""
    loud = np.flatnonzero(np.abs(audio) > _SILENCE)
    if not len(loud):
        return audio, 0.0
    begin = max(int(loud[0]) - int(_LEAD_S * SAMPLE_RATE_HZ), 0)
    end = int(loud[-1]) + int(_TAIL_S * SAMPLE_RATE_HZ)
    return audio[begin:end], begin / SAMPLE_RATE_HZ


def _joined(pieces: list[Speech]) -> Speech:
    words: list[tuple[str, float]] = []
    offset_s = 0.0
    for piece in pieces:
        words += [(word, offset_s + start) for word, start in piece.words]
        offset_s += piece.duration_s
    return Speech(_concatenated([piece.audio for piece in pieces]), tuple(words))


def _concatenated(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
