"""A GGUF language model behind llama.cpp's own OpenAI-compatible server, on loopback."""

import json
import os
import secrets
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import deque
from pathlib import Path
from typing import Any

from loguru import logger

from agent.models import ModelError

TEMPERATURE = 0.2
"""What the server samples with where a request does not say."""

MAX_TOKENS = 120
"""What ends an answer where a request does not say; enough for a few spoken sentences."""

SAMPLING: dict[str, Any] = {
    "cache_prompt": True,
    "min_p": 0.1,
    "repeat_last_n": 64,
    "repeat_penalty": 1.1,
    "top_k": 40,
    "top_p": 0.9,
}
"""llama.cpp's own request fields (an OpenAI client's `extra_body`), which keep a small model
from looping and from wandering off. The temperature is not among them, so that a request's own
wins."""

HEADERS = {"Connection": "close"}
"""llama.cpp promises to keep a connection and closes it after each streamed answer; a client that
believes it loses one request in twenty."""

_START_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 2.0
_MAX_THREADS = 8


class EmbeddedLLM:
    """Starts and stops the server; the language services talk to it like to any other endpoint.

    A slot holds one conversation's evaluated prompt. A conversation that keeps to one slot
    evaluates only the new words of each turn; left to itself the server gives a conversation's
    slot to the next one that begins with the same words, as two callers of one persona do. So
    each conversation takes a slot, sends `request_options(slot)` along, and gives it back:

        slot = llm.take_slot()
        await client.chat.completions.create(..., **llm.request_options(slot))
        llm.leave_slot(slot)
    """

    def __init__(
        self,
        model_path: Path,
        *,
        slots: int = 2,
        context_per_slot: int = 2048,
        threads: int | None = None,
        alias: str | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            model_path: A GGUF file.
            slots: How many answers are written at the same time; more conversations queue.
            context_per_slot: Tokens that a conversation and its answer may have together.
            threads: Threads that compute; by default all cores but one, at most eight.
            alias: The model's name at the endpoint; by default the file's.
        """
        if slots < 1:
            raise ValueError("slots must be at least 1")
        self._path = model_path
        self._slots = slots
        self._context_per_slot = context_per_slot
        self._threads = threads or _spare_cores()
        self.alias = alias or model_path.stem
        self.base_url: str | None = None
        self._process: subprocess.Popen[str] | None = None
        self._log: deque[str] = deque(maxlen=20)
        self._log_reader: threading.Thread | None = None
        self._holders = [0] * slots

    def start(self) -> str:
        """Loads the model and serves it; takes a second per gigabyte, so call it off the loop.

        Returns:
            The base URL for OpenAI clients, ending in `/v1`. It holds a secret: do not log it.

        Raises:
            ModelError: The file is missing, damaged or no model that llama.cpp can run; or
                xllamacpp is not installed.
        """
        if self.base_url is not None:
            return self.base_url
        self._refuse_what_is_no_model()
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.embedded.llm_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C reaches a terminal's whole process group; live turns may still need the model.
            start_new_session=True,
        )
        self._process = process
        self._log.clear()
        self._log_reader = threading.Thread(target=self._read_log, args=(process,), daemon=True)
        self._log_reader.start()
        deadline = threading.Timer(_START_TIMEOUT_S, process.kill)
        deadline.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(self._wanted()) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            deadline.cancel()
        if not line:
            self.stop()
            raise ModelError(self._why_it_failed())
        url: str = json.loads(line)["url"]
        self.base_url = url
        return url

    def stop(self) -> None:
        """Ends the server at once, whatever it is doing; a second time does nothing."""
        process, self._process, self.base_url = self._process, None, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._log_reader is not None:
            self._log_reader.join()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def warm_up(self, system_prompt: str = "You are a friendly voice assistant.") -> None:
        """Has every slot evaluate a prompt, so that the first caller does not wait for it.

        Args:
            system_prompt: The one that calls will have; a slot that knows it has only the
                caller's words left to evaluate.

        Raises:
            ModelError: The server does not answer.
        """
        if self.base_url is None:
            raise ModelError("The language model's server is not running; call start() first.")
        messages = [
            {"role": "system", "content": system_prompt},
            {"role": "user", "content": "Hello."},
        ]
        for slot in range(self._slots):
            body = {"messages": messages, "max_tokens": 1, "id_slot": slot}
            request = urllib.request.Request(
                f"{self.base_url}/chat/completions",
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=_START_TIMEOUT_S) as response:
                    response.read()
            except urllib.error.HTTPError as error:
                said = error.read(300).decode(errors="replace")
                raise ModelError(f"The language model refused its first prompt: {said}") from None
            except OSError as error:
                raise ModelError(f"The language model's server stopped: {error}.") from None

    def take_slot(self) -> int:
        """The slot that the fewest conversations hold; see the class."""
        slot = min(range(self._slots), key=self._holders.__getitem__)
        self._holders[slot] += 1
        return slot

    def leave_slot(self, slot: int) -> None:
        """Gives a slot back that `take_slot` gave."""
        self._holders[slot] = max(0, self._holders[slot] - 1)

    def request_options(self, slot: int) -> dict[str, Any]:
        """What a conversation hands its OpenAI client, or Pipecat's `Settings.extra`, each time."""
        return {"extra_body": {**SAMPLING, "id_slot": slot}, "extra_headers": HEADERS}

    def _wanted(self) -> dict[str, Any]:
        return {
            "path": str(self._path),
            "alias": self.alias,
            "slots": self._slots,
            "context_per_slot": self._context_per_slot,
            "threads": self._threads,
            "max_tokens": MAX_TOKENS,
            "secret": secrets.token_urlsafe(16),
            "sampling": {
                "temp": TEMPERATURE,
                "min_p": SAMPLING["min_p"],
                "penalty_last_n": SAMPLING["repeat_last_n"],
                "penalty_repeat": SAMPLING["repeat_penalty"],
                "top_k": SAMPLING["top_k"],
                "top_p": SAMPLING["top_p"],
            },
        }

    def _refuse_what_is_no_model(self) -> None:
        try:
            with self._path.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise ModelError(
                f"The language model {self._path} cannot be read ({error.strerror})."
            ) from None
        if magic != b"GGUF":
            raise ModelError(
                f"{self._path.name} is not a GGUF file; give one that llama.cpp can load."
            )

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._log.append(line.rstrip())
            logger.debug(f"llama.cpp: {line.rstrip()}")
        if self._process is process and self.base_url is not None:
            logger.error("The language model's server has died; restart csm-agent.")

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def _why_it_failed(self) -> str:
        said = "\n".join(self._log)
        if "No module named 'xllamacpp'" in said:
            return "The embedded language model needs: pip install 'csm-agent[embedded]'"
        if "corrupted or incomplete" in said or "gguf_init" in said:
            return (
                f"{self._path.name} is damaged or only half there; fetch it again "
                "(`csm-agent models fetch`, if it has a name there)."
            )
        last = self._log[-1] if self._log else "it gave no reason"
        return f"llama.cpp cannot serve {self._path.name}: {last}"


def _spare_cores() -> int:
    # llama.cpp's threads spin while they wait for each other: with one for every core, speech
    # recognition or the voice on any core stalls them all, and five times as many words a second
    # come from one thread as from two on a busy machine of two cores.
    affinity: Any = getattr(os, "sched_getaffinity", None)  # Linux only; it knows of containers
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores - 1, _MAX_THREADS))
