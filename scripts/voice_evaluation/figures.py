"""What is reported: one row a turn, and what they come to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from scripts.voice_evaluation.likeness import Voice, mean_voice

# The first and the last so many turns of the conversation are compared: a quarter, and one at
# least.
_EDGE = 4
_DIGITS = 4


@dataclass(frozen=True)
class Row:
    """What was measured of one reply. None stands where there was nothing to measure.

    Attributes:
        turn: Its number, from 1.
        text: What was to be said.
        heard: What Whisper heard.
        seconds: How long it lasts.
        rtf: Seconds of work for each second of speech.
        similarity: To the reference, a cosine.
        nearest: The other voice that it is most like.
        nearest_similarity: How much.
        right_voice: Whether the reference is nearer.
        words: Of the text, normalised.
        word_errors: Wrong, missing or added.
        quality: Predicted opinion, 1 to 5.
        runaway: How CSM ran away.
    """

    turn: int
    text: str
    heard: str
    seconds: float
    rtf: float | None
    similarity: float | None
    nearest: str | None
    nearest_similarity: float | None
    right_voice: bool | None
    words: int
    word_errors: int
    quality: float | None
    runaway: str | None

    @property
    def wer(self) -> float:
        """Errors for each word; it may pass 1."""
        return self.word_errors / max(1, self.words)

    def as_json(self) -> dict[str, Any]:
        """Rounded to what the measures can tell."""
        return _rounded({**asdict(self), "wer": self.wer})


def overall(
    rows: Sequence[Row], voices: Sequence[Voice | None], work_s: float, *, watched: bool
) -> dict[str, Any]:
    """What all turns come to.

    Args:
        rows: At least one.
        voices: Of the replies, one each.
        work_s: That all of them took.
        watched: Whether the voice says when it runs away; if not, there is no rate.
    """
    seconds = sum(row.seconds for row in rows)
    edge = max(1, len(rows) // _EDGE)
    first, last = rows[:edge], rows[-edge:]
    similar_first = _mean([row.similarity for row in first])
    similar_last = _mean([row.similarity for row in last])
    begin = mean_voice([voice for voice in voices[:edge] if voice is not None])
    end = mean_voice([voice for voice in voices[-edge:] if voice is not None])
    compared = [row for row in rows if row.similarity is not None]
    neighbours = Counter(row.nearest for row in compared)
    figures = {
        "turns": len(rows),
        "seconds": seconds,
        "rtf": work_s / seconds if seconds else None,
        "similarity": _mean([row.similarity for row in rows]),
        "similarity_lowest": min((row.similarity or 0.0 for row in compared), default=None),
        "edge_turns": edge,
        "similarity_first": similar_first,
        "similarity_last": similar_last,
        "drift": None
        if similar_first is None or similar_last is None
        else similar_last - similar_first,
        "first_to_last": None if begin is None or end is None else float(begin @ end),
        "right_voice_rate": _mean([float(bool(row.right_voice)) for row in compared]),
        "nearest": neighbours.most_common(1)[0][0] if neighbours else None,
        "nearest_similarity": _mean([row.nearest_similarity for row in rows]),
        "words": sum(row.words for row in rows),
        "word_errors": sum(row.word_errors for row in rows),
        "wer": sum(row.word_errors for row in rows) / max(1, sum(row.words for row in rows)),
        "quality": _mean([row.quality for row in rows]),
        "quality_lowest": min((row.quality for row in rows if row.quality), default=None),
        "runaway_rate": _mean([float(row.runaway is not None) for row in rows])
        if watched
        else None,
    }
    return _rounded(figures)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in figures.items()
    }
