"""A language model on loopback that says what the test tells it to, in OpenAI's protocol."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Message = dict[str, Any]
Reply = Callable[[list[Message]], str]


def echo(messages: list[Message]) -> str:
    """Says back what the caller said last."""
    return f"You said: {messages[-1]['content']}"


@dataclass
class ScriptedLLM:
    """An OpenAI-compatible endpoint in a thread of its own.

    `reply` makes the answer from the messages; `mode` breaks it: "ok", "hang" (takes the request
    and stays silent), "error" (answers 500), "stall" (stops after the first words).
    """

    reply: Reply = echo
    mode: str = "ok"
    token_s: float = 0.005
    requests: list[list[Message]] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> "ScriptedLLM":
        """Starts to serve on a free port."""
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10), "the scripted language model did not start"
        return self

    def __exit__(self, *_: object) -> None:
        """Stops."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        messages = (await request.json())["messages"]
        self.requests.append(messages)
        if self.mode == "error":
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        if self.mode == "hang":
            await asyncio.sleep(60)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for i, word in enumerate(self.reply(messages).split(" ")):
            if self.mode == "stall" and i == 2:
                await asyncio.sleep(60)
            await asyncio.sleep(self.token_s)
            await response.write(_event({"content": word if i == 0 else f" {word}"}))
        await response.write(_event({}, "stop") + b"data: [DONE]\n\n")
        return response


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    chunk = {
        "id": "scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()
