"""Which Segments a slot holds: pure arithmetic on sizes in positions, no tensors, no state.

CSM has 2,048 positions. The references never leave. Of the history nothing leaves until it has
grown past a high mark; then the oldest leave at once, down to a low mark, because whatever stays
must be read anew: positions are counted from the beginning.

Whether something leaves is decided by what stands *before* the newest Segment. So what the next
context begins with is known a turn ahead, whatever is said in it, and can be read while the agent
plays. And it is a function of the history alone: asked every turn or once, after a crash or on
another machine, the answer is the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipecat_csm.errors import ContextError
from pipecat_csm.segment import Segment

_POSITIONS = 2_048
# What a position holds of speech on average: a frame of sound is 80 ms, but the words count too.
_SPEECH_S = 0.07


@dataclass(frozen=True)
class Limits:
    """Bounds in positions (an audio frame of 80 ms, or a token of text, is one).

    Attributes:
        positions: Of a slot; never passed.
        references: The references may take as many, together.
        segment: One Segment of the history may take as many.
        reply: Frames that are kept free for a reply, besides its text.
        high: Past it the oldest of the history leave.
        low: About as many stay then.
    """

    positions: int = _POSITIONS
    references: int = 512
    segment: int = 600
    reply: int = 250
    high: int = 1_536
    low: int = 1_024

    @classmethod
    def of(cls, positions: int) -> "Limits":
        """CSM-1B's, or all of them smaller by as much as there are fewer positions."""
        whole = cls()
        if positions >= whole.positions:
            return whole
        values = (whole.references, whole.segment, whole.reply, whole.high, whole.low)
        return cls(positions, *(value * positions // whole.positions for value in values))


def check_references(size: int, limits: Limits) -> None:
    """Raises a `ContextError` if references of `size` positions are too long."""
    if size > limits.references:
        raise ContextError(
            f"The references take {size:,} positions; together they may take "
            f"{limits.references:,}, about {limits.references * _SPEECH_S:.0f} s of speech: use "
            "fewer, or cut them, as with `ffmpeg -i long.wav -t 15 short.wav`."
        )


def oldest_kept(
    sizes: Sequence[int], *, references: int, reserve: int, limits: Limits, first: int = 0
) -> int:
    """The oldest Segment of the history that stays.

    Args:
        sizes: Of the history's Segments, oldest first, none above `limits.segment`.
        references: What they take together.
        reserve: Positions to keep free after all of it: the reply's text and frames.
        limits: The bounds.
        first: Those before it left earlier, and do not come back.

    Returns:
        Its index; `len(sizes)` if none stays. The newest stays whenever it fits.
    """
    total, room = references, limits.positions - reserve
    for newest in range(first, len(sizes)):
        if total > limits.high:
            while total > limits.low and first < newest - 1:
                total -= sizes[first]
                first += 1
        total += sizes[newest]
    if total > room:  # the newest is long, or the reply's text is
        while first < len(sizes) and (
            total > room or (total > limits.low and first < len(sizes) - 1)
        ):
            total -= sizes[first]
            first += 1
    return first


def tail(segment: Segment, measure: Callable[[Segment], int], most: int) -> Segment | None:
    """The end of a Segment that is too long, with the words that were said in it.

    Words are taken to be spread evenly over the frames. A word that the cut goes through is left
    out, so that no word stands there without its sound.

    Args:
        segment: With codes.
        measure: How many positions a Segment takes.
        most: The tail may take as many.

    Returns:
        None where nothing can remain: it has no codes, or no word begins after the cut.
    """
    if segment.codes is None:
        return None
    frames = segment.codes.shape[0]
    kept = frames * most // max(most, measure(segment))
    while kept > 0:
        words = _last_words(segment.text, kept, frames)
        if not words:
            return None
        # A copy, so that the rest is freed.
        codes = segment.codes[frames - kept :].clone()
        end = replace(segment, text=words, audio=None, codes=codes)
        size = measure(end)
        if size <= most:
            return end
        kept -= size - most
    return None


def _last_words(text: str, kept: int, frames: int) -> str:
    begin = len(text) - len(text) * kept // frames
    if begin and text[begin - 1] != " ":
        blank = text.find(" ", begin)
        begin = len(text) if blank < 0 else blank + 1
    return text[begin:].strip()
