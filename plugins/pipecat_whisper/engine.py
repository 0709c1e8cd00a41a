"""A Whisper model that all sessions of a process share, and the order in which it serves them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from faster_whisper import WhisperModel
from loguru import logger

from pipecat_whisper.decoder import FULL_WINDOW_S, SAMPLE_RATE_HZ, Decoder
from pipecat_whisper.transcript import Transcript

Result = TypeVar("Result")


class WhisperEngineError(RuntimeError):
    """The engine cannot do what it was asked to; the message is one sentence for a person."""


class EngineBusyError(WhisperEngineError):
    """All decoders are busy and nobody else may queue up."""


class WhisperEngine:
    """One loaded faster-whisper model, decoding for any number of sessions off the event loop.

    It keeps nothing of what it hears. Decodes run on threads of its own: up to `max_concurrent`
    at once, with up to `max_waiting` finals queued behind them in order of arrival. Interims
    never queue, so a caption is never in front of an answer. Sessions of several event loops may
    share one engine.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "cpu",
        compute_type: str = "int8",
        cpu_threads: int = 0,
        beam_size: int = 1,
        min_window_s: float = 10.0,
        max_concurrent: int = 1,
        max_waiting: int = 8,
    ) -> None:
        """Loads the model, which takes a second or so: call it off the event loop.

        Args:
            model: Folder of a CTranslate2 Whisper model. Nothing is ever downloaded.
            device: "cpu", "cuda" or "auto".
            compute_type: CTranslate2's: "int8" on a CPU, "default" keeps the model's own.
            cpu_threads: Threads of one decode; 0 lets CTranslate2 choose.
            beam_size: Beams of the search; 1 is greedy and the fastest.
            min_window_s: The shortest window that the encoder is given; 30 turns windows shorter
                than Whisper's own off.
            max_concurrent: Decodes that run at once.
            max_waiting: Finals that may wait for one of them.

        Raises:
            WhisperEngineError: The folder is missing or is not a usable model.
        """
        self.name = Path(model).name
        whisper = _load(Path(model), device, compute_type, cpu_threads, max_concurrent)
        self._languages = frozenset(whisper.supported_languages)
        self._decoder = Decoder(whisper, beam_size=beam_size, min_window_s=min_window_s)
        self._max_concurrent = max_concurrent
        self._max_waiting = max_waiting
        # The pool's queue is the waiting room; the count says how full it is.
        self._pool = ThreadPoolExecutor(max_concurrent, thread_name_prefix="whisper")
        self._lock = threading.Lock()
        self._admitted = 0
        self._closed = False

    @property
    def languages(self) -> frozenset[str]:
        """Whisper's codes of the languages that the model knows."""
        return self._languages

    def warm_up(self) -> None:
        """Decodes a second of faint noise, so that the first caller doesn't pay for the start."""
        noise = np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE_HZ).astype(np.float32)
        self._decoder.decode(noise, language="en", prompt=None, hotwords=None, retry=False)

    async def transcribe(
        self,
        audio: np.ndarray,
        *,
        language: str | None = "en",
        prompt: str | None = None,
        hotwords: str | None = None,
        priority: Literal["final", "interim"] = "final",
    ) -> Transcript:
        """Transcribes `audio` on a thread of the engine.

        A final that looks like a decoding accident is decoded again, slower; an interim is not.

        Args:
            audio: float32 [samples] at 16 kHz, mono, in [-1, 1].
            language: Whisper's code, or None to detect it.
            prompt: Text whose style and spelling the speech shares.
            hotwords: Words to expect.
            priority: A "final" waits for its turn; an "interim" runs now or not at all.

        Raises:
            EngineBusyError: For an interim, all decoders are busy; for a final, too many wait.
            WhisperEngineError: The engine is closed, or the model failed.
        """
        final = priority == "final"
        decode = partial(
            self._decoder.decode,
            audio,
            language=language,
            prompt=prompt,
            hotwords=hotwords,
            retry=final,
        )
        return await asyncio.wrap_future(self._admit(decode, final))

    async def words(
        self, audio: np.ndarray, *, language: str | None = "en"
    ) -> tuple[tuple[str, float], ...]:
        """What is said in `audio`, word by word, with the second at which each begins.

        Waits for its turn twice, as a final does: to hear the words, and to find them.

        Args:
            audio: float32 [samples] at 16 kHz, mono, in [-1, 1], at most 30 s.
            language: Whisper's code, or None to detect it.

        Raises:
            EngineBusyError: Too many wait.
            WhisperEngineError: The audio is longer, the engine is closed, or the model failed.
        """
        if len(audio) > FULL_WINDOW_S * SAMPLE_RATE_HZ:
            raise WhisperEngineError(f"Words are only found in up to {FULL_WINDOW_S:.0f} s.")
        heard = await self.transcribe(audio, language=language)
        if not heard.is_speech():
            return ()
        find = partial(self._decoder.find_words, audio, heard.text, language=heard.language)
        return await asyncio.wrap_future(self._admit(find, True))

    def close(self) -> None:
        """Takes no more work and fails what waits; a second time does nothing.

        A decode that is running ends by itself on its thread.
        """
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False)

    def _admit(self, work: Callable[[], Result], final: bool) -> Future[Result]:
        room = self._max_concurrent + (self._max_waiting if final else 0)
        with self._lock:
            self._refuse_if_closed()
            if self._admitted >= room:
                raise EngineBusyError(
                    f"Speech recognition is overloaded: {self._admitted} decodes are under way."
                )
            self._admitted += 1
            future = self._pool.submit(self._run, work)
        future.add_done_callback(self._release)
        return future

    def _run(self, work: Callable[[], Result]) -> Result:
        self._refuse_if_closed()
        try:
            return work()
        except Exception as error:
            raise WhisperEngineError(f"Speech recognition failed: {error}.") from error

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise WhisperEngineError("Speech recognition is closed.")

    def _release(self, _: Future[Any]) -> None:
        with self._lock:
            self._admitted -= 1


def _load(
    folder: Path, device: str, compute_type: str, cpu_threads: int, workers: int
) -> WhisperModel:
    if not folder.is_dir():
        raise WhisperEngineError(f"There is no folder {folder}: name one with a CTranslate2 model.")
    # faster-whisper asks the network for a tokenizer that is not there.
    missing = [name for name in ("model.bin", "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        raise WhisperEngineError(
            f"The folder {folder} is not a whole CTranslate2 Whisper model: "
            f"it lacks {' and '.join(missing)}."
        )
    try:
        whisper = WhisperModel(
            str(folder),
            device=device,
            compute_type=compute_type,
            cpu_threads=cpu_threads,
            num_workers=workers,
        )
    except Exception as error:  # tokenizers raises bare Exception for a bad file
        raise WhisperEngineError(f"The model in {folder} does not load: {error}") from error
    mels = whisper.feature_extractor.mel_filters.shape[0]
    if mels != whisper.model.n_mels:
        raise WhisperEngineError(
            f"The folder {folder} lacks the preprocessor_config.json of its model, "
            f"which hears {whisper.model.n_mels} mel bands, not {mels}."
        )
    logger.debug(f"Loaded Whisper from {folder} on {whisper.model.device}")
    return whisper
