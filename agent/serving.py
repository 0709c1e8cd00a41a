"""Runs the server: binds first, loads the models while it answers, and stops with manners."""

import asyncio
import gc
import os
import signal
import socket
import ssl
from types import FrameType

import uvicorn
from loguru import logger

from agent.calls import Calls
from agent.listening import CannotServe, bind
from agent.metrics import Metrics
from agent.origins import is_loopback
from agent.persona import choose, load_personas, personas_dir
from agent.server import create_app
from agent.services import Services
from agent.settings import Settings
from agent.wire import MAX_MESSAGE_BYTES


class _Uvicorn(uvicorn.Server):
    """uvicorn, with a first Ctrl-C that lets live turns end and a second that does not."""

    def __init__(self, config: uvicorn.Config, calls: Calls) -> None:
        super().__init__(config)
        self._calls = calls
        self._stopping: asyncio.Task[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the signal handler, between any two instructions of the loop's thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._stop, sig)

    def _stop(self, sig: int) -> None:
        if self._stopping is None and sig == signal.SIGINT and self._calls.live:
            logger.info("Letting live turns end; press Ctrl-C again to stop now.")
            self._stopping = asyncio.create_task(self._drain())
        elif self._stopping is None:
            self._stopping = asyncio.create_task(self._drain())
        else:
            self._stopping.cancel()
            self._stopping = asyncio.create_task(self._stop_now())

    async def _drain(self) -> None:
        await self._calls.drain()
        self.should_exit = True

    async def _stop_now(self) -> None:
        await self._calls.cancel()
        self.should_exit = True
        self.force_exit = True


async def serve(settings: Settings) -> None:
    """Serves until told to stop.

    Raises:
        CannotServe: The port is taken or not allowed, a certificate is missing, ...
        ConfigError: A persona or a setting cannot be used.
        ModelError: A model is missing or broken.
    """
    personas = load_personas(personas_dir(settings.personas_dir))
    choose(personas, settings.persona)
    metrics = Metrics()
    services = Services(settings, personas)
    calls = Calls(settings, personas, services, metrics)
    certfile, keyfile = _certificate(settings)
    sock = bind(settings.server.host, settings.server.port)
    config = uvicorn.Config(
        create_app(settings, calls, metrics),
        log_level="warning",
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_max_queue=32,
        timeout_graceful_shutdown=5,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    server = _Uvicorn(config, calls)
    server.loop = asyncio.get_running_loop()
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    loading = asyncio.create_task(_load(services, calls))
    try:
        await asyncio.wait({serving, loading}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and not serving.done():
            if loading.exception() is None:
                _announce(settings, sock)
            else:
                server.should_exit = True
        await serving
        if loading.done():
            loading.result()
    finally:
        loading.cancel()
        await asyncio.wait({loading})  # its error, if any, was raised above
        await services.close()
        sock.close()


async def _load(services: Services, calls: Calls) -> None:
    await services.load()
    for persona in calls.personas.values():
        services.check_voice(persona)
    # What is loaded by now stays: frozen, it costs the collections after each call no time.
    gc.collect()
    gc.freeze()
    calls.ready = True


def _certificate(settings: Settings) -> tuple[str | None, str | None]:
    certfile = _readable(settings.server.ssl_certfile)
    keyfile = _readable(settings.server.ssl_keyfile)
    if certfile is None and keyfile is not None:
        raise CannotServe("--ssl-keyfile needs the certificate that it belongs to: --ssl-certfile.")
    if certfile is not None:
        try:
            # Without a password given, an encrypted key would ask for one at the terminal.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certfile, keyfile, password="")
        except (ssl.SSLError, OSError):
            with_key = f" with the key {keyfile}" if keyfile else ""
            raise CannotServe(f"The certificate {certfile}{with_key} cannot be used.") from None
    return certfile, keyfile


def _readable(path: os.PathLike[str] | None) -> str | None:
    if path is None:
        return None
    if not os.access(path, os.R_OK):
        raise CannotServe(f"The certificate file {os.fspath(path)} cannot be read.")
    return os.fspath(path)


def _announce(settings: Settings, sock: socket.socket) -> None:
    host, port = sock.getsockname()[:2]
    secure = settings.server.ssl_certfile is not None
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
    shown = f"[{shown}]" if ":" in shown else shown
    scheme = "https" if secure else "http"
    if not is_loopback(host) and not secure:
        logger.warning(
            "Browsers on other machines give a page no microphone without HTTPS; "
            "use --ssl-certfile and --ssl-keyfile, or a proxy that speaks HTTPS."
        )
    # The line that people, scripts and tests wait for.
    print(f"ready: {scheme}://{shown}:{port}  (Ctrl-C stops)", flush=True)
