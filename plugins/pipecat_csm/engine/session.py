"""One conversation's place in the engine: what it has read, kept true by one operation."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pipecat_csm.engine.context import Context
from pipecat_csm.engine.rows import common, cut, no_rows
from pipecat_csm.engine.runner import SamplingOptions
from pipecat_csm.engine.speech import LEAD_S, Speech
from pipecat_csm.errors import ContextError, CSMError, EngineClosedError
from pipecat_csm.model.config import SAMPLE_RATE_HZ
from pipecat_csm.model.prompt import Prompt, audio_frames, concat, text_frames
from pipecat_csm.segment import Segment
from pipecat_csm.watch import RunawayWatch

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from pipecat_csm.engine.engine import Engine

MAX_REPLY_FRAMES = 250


@dataclass(frozen=True)
class _Ahead:
    """A context that was read, or is being read, on a spare slot."""

    slot: int
    rows: Prompt
    reading: Future[None]


class Session:
    """A slot of the engine. Its methods may be called from any one thread at a time.

    The history outside is the only truth: whatever happened to it, `sync` makes the slot agree.
    """

    def __init__(
        self, engine: "Engine", slot: int, sampling: SamplingOptions, context: Context
    ) -> None:
        """Made by `Engine.open_session`."""
        self.sampling = sampling
        self._engine = engine
        self._slot = slot
        self._closed = False
        self._lock = threading.Lock()
        # Whoever holds it may change what follows.
        self._busy = threading.Lock()
        self._context = context
        self._history: list[Segment] = []
        # The rows whose keys and values are in the slot, the reply that may still be adding
        # rows, the last one that was said to its end and may still be playing, and the shorter
        # context that is being read for later.
        self._read = no_rows(engine.config)
        self._speech: Speech | None = None
        self._playing: Speech | None = None
        self._ahead: _Ahead | None = None
        self._replies = 0

    def __enter__(self) -> "Session":
        """The session itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    @property
    def positions(self) -> int:
        """How many positions of the slot are read."""
        return len(self._read)

    @property
    def kept(self) -> tuple[Segment, ...]:
        """What of the history stays, as it was read: of a Segment too long, its end."""
        return self._context.kept

    def sync(self, segments: Sequence[Segment]) -> int:
        """Makes the slot have read the references and, of this history, what fits.

        What it has read already and still stands at the beginning stays; the rest is forgotten
        and read anew. A reply that is going on is cancelled first.

        The oldest Segments leave where the history has grown long (see `window`). What is left
        then is read on a spare slot, in the background, a call ahead of the one that needs it: it
        begins at the end of this call or of `speak`, when everything that it takes is known and
        the agent plays or idles. So there is nothing else to call, and nothing to forget.

        Args:
            segments: All of the history, oldest first, without the references.

        Returns:
            How many positions had to be read.

        Raises:
            ContextError: A Segment has neither codes nor audio.
            DeviceMemoryError: The device has no memory left to encode or read it.
            EngineClosedError: The session or the engine is closed.
        """
        with self._busy:
            self._history = list(segments)
            read = self._read_up_to(self._context.rows(self._history))
            self._read_ahead()
            return read

    def speak(
        self,
        text: str,
        speaker: int,
        *,
        context: Sequence[Segment] | None = None,
        max_frames: int = MAX_REPLY_FRAMES,
        lead_s: float = LEAD_S,
        paced: bool = False,
        number: int | None = None,
        watch: bool = True,
    ) -> Speech:
        """Says a text after the history that was synced last, or `context`; returns at once.

        Args:
            text: Normalised; one Segment's.
            speaker: Who says it.
            context: The whole history, synced first, if given.
            max_frames: The reply is ended after as many.
            lead_s: The reply pauses when it is as far ahead of its playing.
            paced: Whether `Speech.report_played` says what was played. Unpaced, what is taken is.
            number: Of the Segment in the session, a part of the randomness; by default each
                reply's is one more than the last one's.
            watch: End the reply when it has run away; see `RunawayWatch`.

        Raises:
            ContextError: As `sync`; or there is no room for the text and a frame.
            EngineClosedError: The session or the engine is closed.
        """
        with self._busy:
            engine, limits = self._engine, self._context.limits
            rows = text_frames(engine.tokenizer, engine.config, text, speaker)
            if self._context.references + len(rows) >= limits.positions:
                raise ContextError(
                    f"The text takes {len(rows):,} of {limits.positions:,} positions, which "
                    "leaves no room to speak. Say it in several parts."
                )
            self._history = self._history if context is None else list(context)
            before = self._context.rows(self._history, len(rows) + limits.reply)
            prompt = concat([before, rows])
            number = self._replies if number is None else number
            self._replies = number + 1
            speech = Speech(
                engine.wake,
                frame_s=engine.config.codec.frame_samples / SAMPLE_RATE_HZ,
                lead_s=lead_s,
                paced=paced,
                watch=RunawayWatch(text) if watch else None,
                clock=engine.clock,
            )
            self._read_up_to(cut(prompt, 0, -1))
            # The last row is fed by the first step.
            engine.start(
                self,
                self._slot,
                cut(prompt, -1),
                speech,
                self.sampling,
                segment=number,
                frames=min(max_frames, limits.positions - len(prompt)),
            ).result()
            self._read, self._speech = prompt, speech
            self._read_ahead()
            return speech

    def restart(self) -> None:
        """Another conversation begins: Segments that left the last one may be in this one."""
        with self._busy:
            self._history = []
            self._playing = None
            self._context.restart()

    def close(self) -> None:
        """Gives the slot back, which takes up to a frame; a second time does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._engine.release(self, self._slot)
        with self._busy:
            self._drop_ahead()

    def yield_spare(self) -> bool:
        """Takes over what was read ahead, if no reply is going on, so that others can read ahead.

        Called by the engine, on any thread.
        """
        if not self._busy.acquire(blocking=False):
            return False
        try:
            ahead, speech = self._ahead, self._speech
            silent = speech is None or speech.ending is not None
            if ahead is None or self._closed or not silent or not ahead.reading.done():
                return False
            self._settle()
            return self._take_over(ahead)
        except Exception:  # it is not the trouble of who asks; this session reads anew
            logger.exception("What a session had read ahead is lost.")
            return False
        finally:
            self._busy.release()

    def _read_up_to(self, wanted: Prompt) -> int:
        self._settle()
        ahead, shared = self._ahead, common(self._read, wanted)
        if ahead is not None and common(ahead.rows, wanted) > shared:
            if not ahead.reading.done():
                self._note_wait(len(ahead.rows))
                self._engine.hurry(ahead.slot, self._buffered_s)
            if self._take_over(ahead):
                shared = common(self._read, wanted)
        elif self._context.moved and shared < self._context.oldest_end:
            self._note_wait(len(wanted))
        rest = cut(wanted, shared)
        self._read = cut(wanted, 0, shared)
        self._engine.read(self, self._slot, rest, shared, self._buffered_s).result()
        self._read = wanted
        return len(rest)

    def _read_ahead(self) -> None:
        """Begins to read what the next call will begin with, where Segments leave then."""
        wanted = self._context.ahead()
        if wanted is None:
            self._drop_ahead()
            return
        shared = 0 if self._ahead is None else common(self._ahead.rows, wanted)
        if shared == len(wanted) or (self._ahead is not None and not self._ahead.reading.done()):
            return
        spare = self._engine.borrow() if self._ahead is None else self._ahead.slot
        if spare is None:
            return  # whoever needs it waits for it, and says so
        try:
            reading = self._engine.read(self, spare, cut(wanted, shared), shared)
        except CSMError:
            self._ahead = None
            self._engine.give_back(spare)
        else:
            self._ahead = _Ahead(spare, wanted, reading)

    def _take_over(self, ahead: _Ahead) -> bool:
        """Has the session's own slot hold what was read ahead; the slot is silent.

        It is copied rather than that the slots change places: sessions stay on the lowest slots,
        in their buckets and graphs, and the spare one is free again at once.
        """
        if ahead.reading.exception() is not None:
            self._drop_ahead()
            return False
        self._ahead, self._read = None, no_rows(self._engine.config)
        self._engine.move(self, ahead.slot, self._slot, len(ahead.rows)).result()
        self._read = ahead.rows
        return True

    def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._engine.give_back(ahead.slot)

    def _buffered_s(self) -> float:
        """What is left to play while the session waits; called on the engine's thread."""
        return 0.0 if self._playing is None else self._playing.silent_in_s()

    def _note_wait(self, rows: int) -> None:
        self._engine.rebuilds_waited += 1
        logger.warning("A session waits while its shortened context of %d rows is read.", rows)

    def _settle(self) -> None:
        """Ends a reply that is going on, and notes what the slot has read of it."""
        if self._closed:
            raise EngineClosedError("The session is closed.")
        speech, self._speech = self._speech, None
        if speech is None:
            return
        speech.cancel()
        ending = speech.wait()
        # Nobody goes on playing what he has cut off.
        self._playing = None if ending in ("cancelled", "failed") else speech
        codes = torch.from_numpy(speech.codes)
        if ending == "failed":
            self._read = no_rows(self._engine.config)
        elif speech.made:
            # Only a step that finds the end has fed the frame before it.
            fed = codes if ending == "end" else codes[:-1]
            spoken = audio_frames(self._engine.config, fed, closed=False)
            self._read = concat([self._read, spoken])
        elif ending != "end":
            # The last row of the text was never fed.
            self._read = cut(self._read, 0, -1)
