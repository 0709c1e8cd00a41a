"""What csm-agent say shows while one waits. Where nobody looks, at a pipe or a file, nothing."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_BAR_CHARS = 24
_LINE_CHARS = 72


class Progress:
    """One line of a terminal that is written over and over, and the figures in it."""

    def __init__(self, stream: TextIO) -> None:
        """Shows nothing yet, and never anything if `stream` is no terminal."""
        self.spoken_s = 0.0
        """How much has been spoken until now."""
        self.first_s: float | None = None
        """How long the first of it took."""
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._is_open = False
        self._began_s = time.monotonic()
        self._taken_s = self._expected_s = 0.0
        self._is_played = False

    @property
    def rtf(self) -> float | None:
        """Seconds of work for a second of speech; None while nothing is spoken, or it is played."""
        return None if self._is_played or not self.spoken_s else self._taken_s / self.spoken_s

    def loading(self, what: str, done: int, total: int) -> None:
        """Shows how far the model is: `what` is "loading", in bytes, or "compiling", in steps."""
        unit = f"{done / 1e9:.1f} of {total / 1e9:.1f} GB"
        if what != "loading":
            unit = f"{done} of {total} steps"
        self._show(done / max(total, 1), f"{what.capitalize()} {unit}")
        if done >= total:
            self.end()

    def begin(self, expected_s: float, *, played: bool) -> None:
        """The speech begins.

        Args:
            expected_s: How long it will about be.
            played: It is waited for while it plays, so that the time says nothing of the speed.
        """
        self._began_s, self._expected_s, self._is_played = time.monotonic(), expected_s, played

    def spoke(self, seconds: float) -> None:
        """More of it is there."""
        self._taken_s = time.monotonic() - self._began_s
        if self.first_s is None:
            self.first_s = self._taken_s
        self.spoken_s += seconds
        rtf = "" if self.rtf is None else f", RTF {self.rtf:.2f}"
        expected_s = max(self._expected_s, self.spoken_s)
        self._show(
            self.spoken_s / expected_s, f"{self.spoken_s:.1f} of about {expected_s:.0f} s{rtf}"
        )

    def end(self) -> None:
        """Leaves the line as it is; what follows stands below."""
        if self._is_open:
            print(file=self._stream)
        self._is_open = False

    @contextmanager
    def with_warnings(self) -> Iterator[None]:
        """The plugin's warnings stand above the line, not in it."""
        handler = _Warnings(self)
        logger = logging.getLogger("pipecat_csm")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def warn(self, sentence: str) -> None:
        """Says something above the line."""
        if self._is_open:
            print(f"\r{'':{_LINE_CHARS}}\r", end="", file=self._stream)
            self._is_open = False
        print(f"csm-agent: {sentence}", file=self._stream)

    def _show(self, share: float, text: str) -> None:
        if not self._is_terminal:
            return
        bar = "#" * round(min(share, 1.0) * _BAR_CHARS)
        line = f"[{bar:-<{_BAR_CHARS}}] {text}"
        print(f"\r{line:{_LINE_CHARS}}", end="", file=self._stream, flush=True)
        self._is_open = True


class _Warnings(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        # What the engine notes of its sessions is for who runs a server.
        if record.levelno >= logging.ERROR or not record.name.startswith("pipecat_csm.engine"):
            self._progress.warn(record.getMessage())
