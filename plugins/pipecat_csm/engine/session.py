"""One conversation's place in the engine: what it has read, kept true by one operation."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import torch

from pipecat_csm.engine.rows import common, cut, no_rows
from pipecat_csm.engine.runner import SamplingOptions
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import ContextError, EngineClosedError
from pipecat_csm.model.prompt import Prompt, audio_frames, concat, segment_frames, text_frames
from pipecat_csm.segment import Segment
from pipecat_csm.watch import RunawayWatch

if TYPE_CHECKING:
    from pipecat_csm.engine.engine import Engine

MAX_REPLY_FRAMES = 250
LEAD_FRAMES = 50


class Session:
    """A slot of the engine. Its methods may be called from any one thread at a time.

    The history outside is the only truth: whatever happened to it, `sync` makes the slot agree.
    """

    def __init__(self, engine: "Engine", slot: int, sampling: SamplingOptions) -> None:
        """Made by `Engine.open_session`."""
        self.sampling = sampling
        self._engine = engine
        self._slot = slot
        self._closed = False
        self._lock = threading.Lock()
        # The rows whose keys and values are in the slot, the codes of encoded audio, and the
        # reply that may still be adding rows.
        self._read = no_rows(engine.config)
        self._codes: dict[tuple[str, int], torch.Tensor] = {}
        self._speech: Speech | None = None
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

    def sync(self, segments: Sequence[Segment]) -> int:
        """Makes the slot have read exactly these Segments.

        What it has read already and still stands at the beginning stays; the rest is forgotten
        and read anew. A reply that is going on is cancelled first.

        Returns:
            How many positions had to be read.

        Raises:
            ContextError: The Segments do not fit, or one has neither codes nor audio.
            EngineClosedError: The session or the engine is closed.
        """
        return self._read_up_to(self._rows_of(segments))

    def speak(
        self,
        text: str,
        speaker: int,
        *,
        context: Sequence[Segment] | None = None,
        max_frames: int = MAX_REPLY_FRAMES,
        lead: int = LEAD_FRAMES,
        number: int | None = None,
        watch: bool = True,
    ) -> Speech:
        """Says a text after what was synced last, or after `context`, and returns at once.

        Args:
            text: Normalised; one Segment's.
            speaker: Who says it.
            context: Synced first, if given.
            max_frames: The reply is ended after as many.
            lead: Frames that may wait to be taken before the reply pauses.
            number: Of the Segment in the session, a part of the randomness; by default each
                reply's is one more than the last one's.
            watch: End the reply when it has run away; see `RunawayWatch`.

        Raises:
            ContextError: There is no room for the text and a frame.
            EngineClosedError: The session or the engine is closed.
        """
        engine = self._engine
        before = self._read if context is None else self._rows_of(context)
        rows = text_frames(engine.tokenizer, engine.config, text, speaker)
        prompt = concat([before, rows])
        room = engine.positions - len(prompt)
        if room < 1:
            raise ContextError(
                f"The context and the text take {len(prompt):,} of {engine.positions:,} "
                "positions, which leaves no room to speak. Leave out the oldest Segments."
            )
        number = self._replies if number is None else number
        self._replies = number + 1
        self._read_up_to(cut(prompt, 0, -1))
        speech = Speech(lead, engine.wake, RunawayWatch(text) if watch else None)
        # The last row is fed by the first step.
        self._read, self._speech = prompt, speech
        engine.start(
            self._slot,
            cut(prompt, -1),
            speech,
            self.sampling,
            segment=number,
            frames=min(max_frames, room),
        ).result()
        return speech

    def close(self) -> None:
        """Gives the slot back; a second time does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._engine.release(self, self._slot)

    def _rows_of(self, segments: Sequence[Segment]) -> Prompt:
        known = {(segment.id, segment.revision) for segment in segments}
        self._codes = {key: codes for key, codes in self._codes.items() if key in known}
        tokenizer, config = self._engine.tokenizer, self._engine.config
        rows = (segment_frames(tokenizer, config, self._coded(segment)) for segment in segments)
        return concat([no_rows(config), *rows])

    def _coded(self, segment: Segment) -> Segment:
        if segment.codes is not None:
            return segment
        key = (segment.id, segment.revision)
        if key not in self._codes:
            if segment.audio is None:
                raise ContextError(
                    f"The Segment {segment.text[:40]!r} of the context has neither audio nor codes."
                )
            self._codes[key] = self._engine.encode(segment.audio)
        return segment.with_codes(self._codes[key])

    def _read_up_to(self, wanted: Prompt) -> int:
        self._settle()
        shared = common(self._read, wanted)
        if len(wanted) > self._engine.positions:
            raise ContextError(
                f"The context takes {len(wanted):,} positions; there are "
                f"{self._engine.positions:,}. Leave out its oldest Segments."
            )
        rest = cut(wanted, shared)
        self._read = cut(wanted, 0, shared)
        done: Future[None] = self._engine.read(self._slot, rest, shared)
        done.result()
        self._read = wanted
        return len(rest)

    def _settle(self) -> None:
        """Ends a reply that is going on, and notes what the slot has read of it."""
        if self._closed:
            raise EngineClosedError("The session is closed.")
        speech, self._speech = self._speech, None
        if speech is None:
            return
        speech.cancel()
        ending = speech.wait()
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
