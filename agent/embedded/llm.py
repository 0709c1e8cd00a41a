"""A GGUF language model behind llama.cpp's own OpenAI-compatible server, on loopback."""

import http.client
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from agent.embedded.llm_process import START_TIMEOUT_S
from agent.embedded.llm_supervisor import LLMSupervisor
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

_MAX_THREADS = 8

Message = dict[str, str]
"""A role and its content, as OpenAI's protocol has them."""

_SOME_OPENING = (Message(role="system", content="You are a friendly voice assistant."),)


class EmbeddedLLM:
    """Starts and stops the server; the language services talk to it like to any other endpoint.

    A server that dies comes back by itself at the same address. Until then requests fail as at
    any endpoint that is down, and `alive` is false.

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
        self._supervisor: LLMSupervisor | None = None
        # Of each slot, what it evaluates after a restart, in this order.
        self._openings: list[tuple[int, list[Message]]] = []
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
        self._supervisor = LLMSupervisor(self._wanted(), self._evaluate_openings)
        try:
            self.base_url = self._supervisor.start()
        except ModelError:
            self.stop()
            raise
        return self.base_url

    def stop(self) -> None:
        """Ends the server at once, whatever it is doing; a second time does nothing."""
        supervisor, self._supervisor, self.base_url = self._supervisor, None, None
        if supervisor is not None:
            supervisor.stop()

    @property
    def alive(self) -> bool:
        """Whether the server runs and knows the prompts that it was warmed up with."""
        return self._supervisor is not None and self._supervisor.alive

    def warm_up(
        self,
        opening: Sequence[Message] = _SOME_OPENING,
        others: Iterable[Sequence[Message]] = (),
    ) -> None:
        """Evaluates the prompts that calls begin with, so that no first caller waits for them.

        A caller whose prompt is known has only his own words left to evaluate.

        Args:
            opening: What calls begin with, up to the caller's first words, system prompt first;
                every slot will know it.
            others: What other calls begin with. The server keeps one copy of each, for the first
                caller who needs it, whichever slot he takes.

        Raises:
            ModelError: The server does not answer.
        """
        # A slot's prompt moves aside when the next one comes.
        self._openings = [(0, list(other)) for other in others]
        self._openings += [(slot, list(opening)) for slot in range(self._slots)]
        self._evaluate_openings()

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
            "port": 0,
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

    def _evaluate_openings(self) -> None:
        url = self.base_url
        if url is None:
            raise ModelError("The language model's server is not running; call start() first.")
        for slot, opening in self._openings:
            messages = [*opening, {"role": "user", "content": "Hello."}]
            body = {"messages": messages, "max_tokens": 1, "id_slot": slot}
            request = urllib.request.Request(
                f"{url}/chat/completions",
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as response:
                    response.read()
            except urllib.error.HTTPError as error:
                said = error.read(300).decode(errors="replace")
                if error.code >= 500:
                    raise ModelError(f"The language model failed at first: {said}") from None
                # A prompt that is too long; only those who chose it need to be told, each turn.
                logger.warning(f"The language model refuses what a call begins with: {said}")
            except (OSError, http.client.HTTPException) as error:
                raise ModelError(f"The language model's server stopped: {error}.") from None


def _spare_cores() -> int:
    # llama.cpp's threads spin while they wait for each other: with one for every core, speech
    # recognition or the voice on any core stalls them all, and five times as many words a second
    # come from one thread as from two on a busy machine of two cores.
    affinity: Any = getattr(os, "sched_getaffinity", None)  # Linux only; it knows of containers
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores - 1, _MAX_THREADS))
