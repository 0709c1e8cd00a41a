"""Cuts a text into the pieces that are synthesised one after another.

The caller hears the first piece while the rest is still being made, so the first is short, and
each later one is bounded by what is playing meanwhile. A cut is made only where a speaker would
pause or could: every piece costs a little of the intonation that spans it.
"""

import re

_CLAUSE_END = re.compile(r"""[,;:.!?…—–][)\]"'”’]*$|^(?:-|--)$""")
_CONJUNCTIONS = frozenset(
    {"and", "but", "or", "so", "because", "which", "who", "when", "while", "if", "though", "then"}
)


def split_clauses(
    text: str, *, shortest_words: int = 3, whole_words: int = 7, growth: float = 3.0
) -> list[str]:
    """Cut a text at clause ends, short pieces first.

    Args:
        text: One or more sentences.
        shortest_words: No piece is shorter, unless the whole text is.
        whole_words: A text of up to this many words stays in one piece.
        growth: How many times as long as the piece before it a piece may be, where there is
            a clause end to cut at. With speech made ``1 / RTF`` times faster than it plays,
            anything below that keeps playback from running dry.

    Returns:
        The pieces, which joined by spaces hold the words of ``text`` in order.
    """
    words = text.split()
    if len(words) <= whole_words:
        return [" ".join(words)] if words else []
    pieces: list[str] = []
    start, longest = 0, float(whole_words)
    while start < len(words):
        end = _cut(words, start, shortest_words, longest, early=not pieces)
        pieces.append(" ".join(words[start:end]))
        longest = max(growth * (end - start), whole_words)
        start = end
    return pieces


def _cut(words: list[str], start: int, shortest: int, longest: float, *, early: bool) -> int:
    """Find where the piece that begins at ``start`` ends (exclusive).

    That is the first clause end for the first piece and the last one within ``longest`` words
    for others. Where clauses run on, before a conjunction will do.
    """
    ends = range(start + shortest, len(words) - shortest + 1)
    clause_ends = [end for end in ends if _CLAUSE_END.search(words[end - 1])]
    within = [end for end in clause_ends if end - start <= longest]
    if within:
        return within[0] if early else within[-1]
    if len(words) - start <= longest:
        return len(words)
    before_conjunction = [end for end in ends if words[end].lower() in _CONJUNCTIONS]
    later = [end for end in before_conjunction if end - start > shortest]
    return min([*clause_ends[:1], *later[:1], len(words)])
