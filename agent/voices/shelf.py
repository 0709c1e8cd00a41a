"""Examined recordings, kept in memory for a while."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from agent.voices.examining import Examined

KEPT_S = 30 * 60.0
# Each takes 3 MB at most.
MAX_KEPT = 16


class Shelf:
    """A bounded number of examined recordings; the oldest leave first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Examined]] = OrderedDict()

    def put(self, examined: Examined) -> str:
        """Keeps it; returns the token that it is called by, which nobody can guess."""
        token = secrets.token_urlsafe(16)
        self._kept[token] = (self._clock() + KEPT_S, examined)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return token

    def get(self, token: str) -> Examined | None:
        """The recording of that token, if it is still there."""
        now_s = self._clock()
        for old in [key for key, (until_s, _) in self._kept.items() if until_s <= now_s]:
            del self._kept[old]
        _, examined = self._kept.get(token, (0.0, None))
        return examined

    def forget(self, token: str) -> None:
        """Lets a recording go; one that is gone already stays gone."""
        self._kept.pop(token, None)

    def clear(self) -> None:
        """Lets all go."""
        self._kept.clear()
