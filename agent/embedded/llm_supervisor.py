"""Keeps the language model's server running at one address: one that dies is started again."""

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from loguru import logger

from agent.embedded.llm_process import LLMProcess
from agent.models import ModelError
from agent.restarts import RestartLimit


class LLMSupervisor:
    """Starts the server, and starts it again with the same port and secret when it dies.

    It has no thread of its own: the thread that read the dead process's log, and so noticed its
    death, brings up the next one, whose log has a thread too, and ends.
    """

    def __init__(
        self,
        wanted: dict[str, Any],
        warm: Callable[[], None],
        limit: RestartLimit | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            wanted: What `agent.embedded.llm_server` reads; the port may be 0, for any free one.
            warm: Called after each restart, before the server counts as alive again; raises
                ModelError if the server fails meanwhile.
            limit: By default five restarts within ten minutes, 1, 2, 4, 8 and 16 s after a death.
        """
        self._wanted = wanted
        self._warm = warm
        self._limit = limit or RestartLimit()
        self._lock = threading.Lock()  # of all that follows
        self._stopping = threading.Event()
        self._process: LLMProcess | None = None
        self._serving = False
        self._restarter: threading.Thread | None = None

    def start(self) -> str:
        """Loads the model and serves it.

        Returns:
            The base URL, which stays the same until `stop`.

        Raises:
            ModelError: The server cannot start; why, in one sentence.
        """
        url = self._bring_up()
        self._wanted = {**self._wanted, "port": urlsplit(url).port}
        self._count_as_alive()
        return url

    def stop(self) -> None:
        """Ends the server, or its restart, for good; a second time does nothing."""
        with self._lock:
            self._stopping.set()
            self._serving = False
            restarter = self._restarter
        self._end_process()
        if restarter is not None:
            restarter.join()

    @property
    def alive(self) -> bool:
        """Whether the server runs and is warm."""
        return self._serving and self._process is not None and self._process.alive

    def _bring_up(self) -> str:
        with self._lock:
            if self._stopping.is_set():
                raise ModelError("The language model's server was stopped.")
            self._process = process = LLMProcess(self._wanted, self._on_over)
        return process.address()

    def _count_as_alive(self) -> None:
        with self._lock:
            # A death from here on reaches `_on_over`, which took an earlier one for a failed start.
            if self._stopping.is_set() or self._process is None or self._process.over.is_set():
                raise ModelError("The language model's server stopped as soon as it was ready.")
            self._serving = True
            self._restarter = None

    def _on_over(self, process: LLMProcess) -> None:
        with self._lock:
            if not self._serving or process is not self._process:
                return
            self._serving = False
            self._restarter = threading.current_thread()
        self._restart("The language model's server has died")

    def _restart(self, what_happened: str) -> None:
        while (pause_s := self._limit.next_pause_s(time.monotonic())) is not None:
            self._end_process()
            logger.error(f"{what_happened}; starting it again in {pause_s:g} s.")
            if self._stopping.wait(pause_s):
                return
            try:
                self._bring_up()
                self._warm()
                self._count_as_alive()
            except ModelError as error:
                if self._stopping.is_set():
                    return
                reason = str(error).rstrip(".")
                what_happened = f"The language model's server did not come back: {reason}"
            else:
                logger.info("The language model's server is back.")
                return
        self._end_process()
        logger.error(
            f"{what_happened}; after {self._limit.restarts} restarts within "
            f"{self._limit.within_s / 60:.0f} minutes it stays down until csm-agent is restarted."
        )

    def _end_process(self) -> None:
        # Also one that has died: its parent must take note of it, or it stays a zombie.
        if self._process is not None:
            self._process.end()
