"""How often something that fails is started again."""

from collections import deque


class RestartLimit:
    """How long to wait before the next restart, and when to try no more."""

    def __init__(
        self, restarts: int = 5, within_s: float = 600.0, *, first_pause_s: float = 1.0
    ) -> None:
        """Allows so many restarts within any such span of time; each pause doubles the last."""
        self.restarts = restarts
        self.within_s = within_s
        self._first_pause_s = first_pause_s
        self._recent: deque[float] = deque()

    def next_pause_s(self, now: float) -> float | None:
        """Counts one more restart: the seconds to wait before it, or None to give up.

        Args:
            now: Any clock's time, which never goes back.
        """
        while self._recent and now - self._recent[0] >= self.within_s:
            self._recent.popleft()
        if len(self._recent) >= self.restarts:
            return None
        self._recent.append(now)
        return self._first_pause_s * 2 ** (len(self._recent) - 1)
