"""The sound of a conversation: what both speakers said, as it was heard, and nothing else."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipecat_csm.segment import Segment

_FRAME_HZ = 12.5
# A shorter beginning of a sentence is no speech but a sound.
_SHORTEST_S = 0.5

# The words of a Segment that had been spoken after so many seconds of it.
WordsUntil = Callable[[float], str]


@dataclass(frozen=True)
class Heard:
    """What a commit left of a turn.

    Attributes:
        text: All that was heard of the turn, as it stands in the history.
        seconds: How long that takes.
        is_whole: Whether nothing of what was made is missing.
    """

    text: str
    seconds: float
    is_whole: bool


@dataclass(frozen=True)
class _Entry:
    """A Segment, and the turn it is pending for; None once it is heard."""

    segment: Segment
    turn: str | None = None
    words_until: WordsUntil | None = None


class SegmentHistory:
    """Both speakers' Segments in the order in which they were spoken. Safe to use from any thread.

    What the caller said is heard. What the agent says is pending, sentence by sentence, until
    `commit` says how much of its turn was heard: that stays, under a new revision where it was cut
    off, and the rest leaves. Who follows (an engine's session, a prompt) asks for `segments`.
    """

    def __init__(self, *, max_segments: int = 200, max_s: float = 600.0) -> None:
        """It is empty.

        Args:
            max_segments: The oldest heard leave above as many.
            max_s: Or above so many seconds of sound. CSM's own window is narrower, and kept by the
                engine; this bounds memory.
        """
        self._max_segments, self._max_s = max_segments, max_s
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()
        self.version = 0
        """Grows with every change, so that who follows need not compare."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All of it, the pending ones too, oldest first."""
        with self._lock:
            return tuple(entry.segment for entry in self._entries)

    @property
    def heard(self) -> tuple[Segment, ...]:
        """What was heard, oldest first."""
        with self._lock:
            return tuple(entry.segment for entry in self._entries if entry.turn is None)

    def pending(self, turn: str) -> tuple[Segment, ...]:
        """The sentences of a turn of which it is not known yet whether they were heard."""
        with self._lock:
            return tuple(entry.segment for entry in self._entries if entry.turn == turn)

    def add(self, segment: Segment) -> None:
        """Something was said and heard, as the caller's words are.

        Raises:
            ValueError: It has no sound: a typed text belongs into the prompt alone.
        """
        _check_spoken(segment)
        with self._lock:
            self._entries.append(_Entry(segment))
            self._changed()

    def expect(self, turn: str, segment: Segment, words_until: WordsUntil | None = None) -> None:
        """A sentence was made, and is about to be heard.

        Args:
            turn: Whose sentences are heard one after another.
            segment: With its codes.
            words_until: Which of its words had been spoken when; by default in proportion.

        Raises:
            ValueError: It has no sound.
        """
        _check_spoken(segment)
        with self._lock:
            self._entries.append(_Entry(segment, turn, words_until))
            self._changed()

    def commit(self, turn: str, heard_s: float | None = None) -> Heard:
        """Says how much of a turn was heard, and forgets the rest; a second time changes nothing.

        Args:
            turn: As it was given to `expect`.
            heard_s: Seconds of sound since the turn began; None is all.
        """
        with self._lock:
            kept: list[_Entry] = []
            texts: list[str] = []
            seconds, is_whole, left = 0.0, True, heard_s
            for entry in self._entries:
                if entry.turn != turn:
                    kept.append(entry)
                    continue
                length = entry.segment.duration_s
                segment = entry.segment if left is None else _heard_of(entry, left)
                is_whole &= segment is entry.segment
                left = None if left is None else max(0.0, left - length)
                if segment is not None:
                    kept.append(_Entry(segment))
                    texts.append(segment.text)
                    seconds += segment.duration_s
            changed = len(kept) != len(self._entries) or texts
            self._entries = kept
            if changed:
                self._changed()
        return Heard(" ".join(texts), seconds, is_whole)

    def clear(self) -> None:
        """Another conversation begins."""
        with self._lock:
            self._entries = []
            self._changed()

    def _changed(self) -> None:
        self.version += 1
        seconds = sum(entry.segment.duration_s for entry in self._entries)
        # What is pending stays: it is being said.
        while self._entries and self._entries[0].turn is None:
            if len(self._entries) <= self._max_segments and seconds <= self._max_s:
                break
            seconds -= self._entries.pop(0).segment.duration_s


def _heard_of(entry: _Entry, heard_s: float) -> Segment | None:
    """What was heard of a sentence; None if it was too little."""
    segment = entry.segment
    # A frame of which a caller heard a part was not heard; the small number is rounding's.
    frames = int(heard_s * _FRAME_HZ + 1e-6)
    if frames >= round(segment.duration_s * _FRAME_HZ):
        return segment
    if frames < _SHORTEST_S * _FRAME_HZ:
        return None
    words_until = entry.words_until or _in_proportion(segment)
    text = words_until(frames / _FRAME_HZ).strip()
    return segment.cropped(frames, text) if text else None


def _in_proportion(segment: Segment) -> WordsUntil:
    def words_until(seconds: float) -> str:
        words = segment.text.split()
        letters = sum(map(len, words)) or 1
        share, said = seconds / segment.duration_s, 0
        for number, word in enumerate(words):
            said += len(word)
            if said / letters > share:
                return " ".join(words[:number])
        return segment.text

    return words_until


def _check_spoken(segment: Segment) -> None:
    if not segment.is_spoken:
        raise ValueError(f"The Segment {segment.text[:40]!r} has no sound.")


def turns_of(segments: Sequence[Segment]) -> list[tuple[int, str]]:
    """Who said what, one entry per turn, for a prompt or a comparison."""
    turns: list[tuple[int, str]] = []
    for segment in segments:
        if turns and turns[-1][0] == segment.speaker:
            turns[-1] = segment.speaker, f"{turns[-1][1]} {segment.text}"
        else:
            turns.append((segment.speaker, segment.text))
    return turns
