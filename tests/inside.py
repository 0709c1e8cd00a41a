"""The real server in this process, so that a test can look inside a call over a socket."""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import uvicorn
from pipecat_csm.engine.engine import Engine

from agent.calls import Calls
from agent.config import load_settings
from agent.metrics import Metrics
from agent.persona import load_personas
from agent.server import create_app
from agent.services import Services
from agent.session import Session

_START_S = 120


class InsideServer:
    """Serves on a free port from a thread of its own, with every model loaded."""

    def __init__(self, **overrides: Any) -> None:
        """`overrides` are settings by dotted name, as in `**{"tts.engine": "csm"}`."""
        settings = load_settings("embedded", overrides=overrides, environ={})
        personas = load_personas()
        self.services = Services(settings, personas)
        self._metrics = Metrics()
        self.calls = Calls(settings, personas, self.services, self._metrics)
        self._app = create_app(settings, self.calls, self._metrics)
        self._started: Future[str] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "InsideServer":
        """Starts it."""
        self._thread.start()
        self.url = self._started.result(_START_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(_START_S)

    @property
    def ws_url(self) -> str:
        """Where a websocket caller connects."""
        return self.url.replace("http", "ws", 1) + "/ws"

    @property
    def engine(self) -> Engine:
        """CSM's engine."""
        assert self.services.csm is not None
        return self.services.csm.engine

    @property
    def metrics(self) -> dict[str, float]:
        """What was counted until now, without labels."""
        families = self._metrics.registry.collect()
        return {sample.name: sample.value for family in families for sample in family.samples}

    @property
    def session(self) -> Session:
        """The one call that is going on."""
        [session] = self.calls.sessions
        return session

    def do(self, work: Callable[[], Any]) -> Any:
        """Does something on the server's own loop, and returns what comes of it."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        try:
            await self.services.load()
            self.calls.ready = True
            config = uvicorn.Config(self._app, log_level="warning", timeout_graceful_shutdown=1)
            self._server = uvicorn.Server(config)
            serving = asyncio.create_task(self._server.serve(sockets=[sock]))
            while not self._server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await asyncio.sleep(0.01)
            self._started.set_result(f"http://127.0.0.1:{sock.getsockname()[1]}")
            await serving
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise
        finally:
            await self.services.close()
            sock.close()
