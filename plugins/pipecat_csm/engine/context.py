"""A conversation as the rows that a slot should have read: encoded once, and within the window."""

import logging
from collections.abc import Callable, Sequence

import tokenizers
import torch

from pipecat_csm.engine.rows import no_rows
from pipecat_csm.engine.window import Limits, check_references, oldest_kept, tail
from pipecat_csm.errors import AudioError, ContextError
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.prompt import Prompt, concat, positions, segment_frames
from pipecat_csm.segment import Segment

logger = logging.getLogger(__name__)

_Key = tuple[str, int]


class Context:
    """The references, the history as it was last seen, and which of it stays."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        config: CSMConfig,
        limits: Limits,
        encode: Callable[[torch.Tensor], torch.Tensor],
        references: Sequence[Segment] = (),
    ) -> None:
        """Encodes the references.

        Args:
            tokenizer: The checkpoint's.
            config: Its dimensions.
            limits: Of the window.
            encode: Sound [samples] to codes [frames, codebooks].
            references: Segments that never leave.

        Raises:
            ContextError: They are too long, or one has neither codes nor audio.
            AudioError: The audio of one is empty.
        """
        self.limits = limits
        self._tokenizer, self._config, self._encode = tokenizer, config, encode
        # By id and revision: what was encoded, sizes, and the tails of Segments too long.
        self._codes: dict[_Key, torch.Tensor] = {}
        self._sizes: dict[_Key, int] = {}
        self._tails: dict[_Key, Segment | None] = {}
        for reference in references:
            _check_spoken(reference)
        check_references(sum(map(self._measure, references)), limits)
        self._references = self._rows(no_rows(config), references)
        self._codes.clear()
        # The Segments that stay, in order.
        self._kept: list[Segment] = []
        self.moved = False
        """Whether Segments that had stayed until then left at the last call of `rows`."""

    @property
    def references(self) -> int:
        """Positions that the references take."""
        return len(self._references)

    @property
    def oldest_end(self) -> int:
        """Where the oldest Segment ends that stays and is not the newest."""
        return self.references + (self._measure(self._kept[0]) if len(self._kept) > 1 else 0)

    @property
    def kept(self) -> tuple[Segment, ...]:
        """The Segments that stayed at the last call of `rows`."""
        return tuple(self._kept)

    def rows(self, history: Sequence[Segment], reserve: int | None = None) -> Prompt:
        """The references, and of a whole history what stays.

        Args:
            history: Oldest first, all of it that there is.
            reserve: Positions to keep free; those of a reply's frames by default.

        Raises:
            ContextError: A Segment has neither codes nor audio.
            AudioError: Its audio is empty.
        """
        self._forget(history)
        fitting = [fit for segment in history if (fit := self._fit(segment)) is not None]
        known = {segment.id for segment in self._kept}
        before = next((i for i, segment in enumerate(fitting) if segment.id in known), 0)
        first = oldest_kept(
            [self._measure(segment) for segment in fitting],
            references=self.references,
            reserve=self.limits.reply if reserve is None else reserve,
            limits=self.limits,
            first=before,
        )
        self.moved = bool(known) and first > before
        self._kept = fitting[first:]
        return self._rows(self._references, self._kept)

    def ahead(self) -> Prompt | None:
        """What the next rows will begin with, if Segments leave then; else None.

        Known now, because it does not depend on the Segment that joins then.
        """
        first = oldest_kept(
            [*map(self._measure, self._kept), 0],
            references=self.references,
            reserve=self.limits.reply,
            limits=self.limits,
        )
        return self._rows(self._references, self._kept[first:]) if first else None

    def restart(self) -> None:
        """Another conversation begins: what left of the last one may be in this one."""
        self._kept = []

    def _rows(self, before: Prompt, segments: Sequence[Segment]) -> Prompt:
        rows = (segment_frames(self._tokenizer, self._config, self._coded(s)) for s in segments)
        return concat([before, *rows])

    def _fit(self, segment: Segment) -> Segment | None:
        """The Segment, its tail if it is too long, or None if none can be had."""
        _check_spoken(segment)
        size = self._measure(segment)
        if size <= self.limits.segment:
            return segment
        key = _key(segment)
        if key not in self._tails:
            end = tail(self._coded(segment), self._size, self.limits.segment)
            self._tails[key] = end
            logger.info(
                "The Segment %r takes %d positions, above %d: %s.",
                segment.text[:40],
                size,
                self.limits.segment,
                "it is left out" if end is None else "its end stays",
            )
        return self._tails[key]

    def _measure(self, segment: Segment) -> int:
        key = _key(segment)
        if self._tails.get(key) is segment:
            return self._size(segment)
        if key not in self._sizes:
            self._sizes[key] = self._size(segment)
        return self._sizes[key]

    def _size(self, segment: Segment) -> int:
        return positions(self._tokenizer, self._config, segment)

    def _coded(self, segment: Segment) -> Segment:
        if segment.codes is not None:
            return segment
        key = _key(segment)
        if key not in self._codes:
            assert segment.audio is not None
            self._codes[key] = self._encode(segment.audio)
        return segment.with_codes(self._codes[key])

    def _forget(self, history: Sequence[Segment]) -> None:
        """Drops what was noted of Segments that are no more."""
        there = {_key(segment) for segment in history}
        for noted in (self._codes, self._sizes, self._tails):
            for key in noted.keys() - there:
                del noted[key]


def _key(segment: Segment) -> _Key:
    return segment.id, segment.revision


def _check_spoken(segment: Segment) -> None:
    if not segment.is_spoken:
        raise ContextError(
            f"The Segment {segment.text[:40]!r} of the context has neither audio nor codes."
        )
    if segment.codes is None and segment.audio is not None and not len(segment.audio):
        raise AudioError(f"The audio of the Segment {segment.text[:40]!r} is empty.")
