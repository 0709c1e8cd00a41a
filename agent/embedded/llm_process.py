"""The child process that runs `agent.embedded.llm_server`, and its pipes."""

import contextlib
import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loguru import logger

from agent.models import ModelError

START_TIMEOUT_S = 300.0
"""How long the model may take to load, and its first prompt to be evaluated."""

_STOP_TIMEOUT_S = 2.0


class LLMProcess:
    """One server process from its start to its end; it never runs twice.

    Each pipe has one owner, so that none is closed while another thread reads it: `address` the
    output, the log's thread the errors, `end` the input.
    """

    def __init__(self, wanted: dict[str, Any], on_over: Callable[["LLMProcess"], None]) -> None:
        """Starts the process and returns at once; `address` waits for the model.

        Args:
            wanted: What `agent.embedded.llm_server` reads.
            on_over: Called in the log's thread when the process has died or was ended.

        Raises:
            ModelError: The system has no process left to give.
        """
        self._model_name = Path(wanted["path"]).name
        self._on_over = on_over
        self._log: deque[str] = deque(maxlen=20)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "agent.embedded.llm_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # Ctrl-C reaches a terminal's whole process group; live turns may still need the
                # model.
                start_new_session=True,
            )
        except OSError as error:
            raise ModelError(f"The language model's server cannot start: {error}.") from None
        self.over = threading.Event()
        self._log_reader = threading.Thread(
            target=self._read_log, name="llama.cpp log", daemon=True
        )
        self._log_reader.start()
        assert self._child.stdin is not None
        # A child that died at once is told of by `address`.
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(wanted) + "\n")
            self._child.stdin.flush()

    def address(self) -> str:
        """Waits until the model is served; call it once.

        Returns:
            The base URL, which holds the secret.

        Raises:
            ModelError: The process died; why, in one sentence.
        """
        deadline = threading.Timer(START_TIMEOUT_S, self._child.kill)
        deadline.start()
        assert self._child.stdout is not None
        try:
            with self._child.stdout as output:
                line = output.readline()
        finally:
            deadline.cancel()
        if not line:
            self.end()
            raise ModelError(self._why_it_failed())
        return json.loads(line)["url"]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child.poll() is None

    def end(self) -> None:
        """Ends the process, whatever it is doing, within seconds; a second time does nothing."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        # A restart runs in that thread, and begins by ending the process that has died.
        if threading.current_thread() is not self._log_reader:
            self._log_reader.join()

    def _read_log(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as errors:
            for line in errors:
                self._log.append(line.rstrip())
                logger.debug(f"llama.cpp: {line.rstrip()}")
        self.over.set()
        self._on_over(self)

    def _why_it_failed(self) -> str:
        said = "\n".join(self._log)
        if "No module named 'xllamacpp'" in said:
            return "The embedded language model needs: pip install 'csm-agent[embedded]'"
        if "corrupted or incomplete" in said or "gguf_init" in said:
            return (
                f"{self._model_name} is damaged or only half there; fetch it again "
                "(`csm-agent models fetch`, if it has a name there)."
            )
        last = self._log[-1] if self._log else "it gave no reason"
        return f"llama.cpp cannot serve {self._model_name}: {last}"
