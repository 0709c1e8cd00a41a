"""The conversations that are going on, whichever way they came in."""

import asyncio

from loguru import logger
from pipecat.transports.base_transport import BaseTransport

from agent import memory
from agent.lines import AllLinesBusy, Line, Lines
from agent.metrics import Metrics
from agent.persona import Persona
from agent.pipeline import load_ears
from agent.services import Services
from agent.session import Session
from agent.settings import Settings

_STOPPING = "The agent is shutting down and takes no new calls."


class Unavailable(RuntimeError):
    """No call can be taken now; the sentence is for the caller."""


class Removed(LookupError):
    """The persona was there when the server started; the sentence is for the caller."""


class Calls:
    """Takes calls, runs them, and lets them end when the server stops."""

    def __init__(
        self, settings: Settings, personas: dict[str, Persona], services: Services, metrics: Metrics
    ) -> None:
        """Calls are refused until `ready` is set."""
        self.personas = personas
        self.ready = False
        self.draining = False
        self._settings = settings
        self._services = services
        self._metrics = metrics
        self._lines = Lines(settings.server.max_sessions)
        self._sessions: set[Session] = set()
        self._count = 0

    @property
    def services(self) -> Services:
        """The models behind them."""
        return self._services

    @property
    def sessions(self) -> list[Session]:
        """The conversations that are going on."""
        return [*self._sessions]

    @property
    def live(self) -> int:
        """How many conversations are going on."""
        return len(self._sessions)

    @property
    def state(self) -> str:
        """`ready`, or why no call can be taken: `loading`, `stopping`, `broken`."""
        if self.draining:
            return "stopping"
        if not self.ready:
            return "loading"
        return "ready" if self._services.alive else "broken"

    def reserve(self, persona: str) -> Line:
        """Keeps a line for a caller who is about to connect.

        Raises:
            Unavailable: The server is loading, stopping, or has no line free.
            KeyError: There is no such persona.
            Removed: There is none any more.
        """
        if not self.ready:
            self._metrics.rejected.labels("loading").inc()
            raise Unavailable("The agent is still loading its models. Please try again shortly.")
        if self.draining:
            self._metrics.rejected.labels("stopping").inc()
            raise Unavailable(_STOPPING)
        asked = self.personas[persona]
        if not asked.is_there:
            raise Removed(f"{asked.display_name} was removed. Please choose somebody else.")
        try:
            return self._lines.reserve(persona)
        except AllLinesBusy as busy:
            self._metrics.rejected.labels("busy").inc()
            raise Unavailable(str(busy)) from None

    def take(self, token: str) -> Line | None:
        """The reserved line of that token, now taken; None if there is none.

        Raises:
            Unavailable: The server has begun to stop since.
        """
        if self.draining:
            raise Unavailable(_STOPPING)
        return self._lines.take(token)

    def release(self, line: Line) -> None:
        """Gives back a line whose conversation never began."""
        self._lines.release(line)

    async def run(self, line: Line, transport: BaseTransport, kind: str) -> None:
        """Runs one conversation on a taken line, to its end."""
        self._count += 1
        name = f"{self._count}"
        persona = self.personas[line.persona]
        try:
            session = Session(
                transport,
                persona,
                self._services,
                await asyncio.to_thread(load_ears, self._settings),
                await self._services.build_mouth(persona),
                self._settings,
                self._metrics,
                name=name,
            )
        except BaseException:
            self._lines.release(line)
            raise
        if self.draining:  # since the models of its ears began to load
            self._lines.release(line)
            return
        self._sessions.add(session)
        self._metrics.sessions.labels(kind).inc()
        self._metrics.live_sessions.inc()
        logger.info(f"Session {name} began over {kind}, with {line.persona}.")
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self._metrics.live_sessions.dec()
            self._lines.release(line)
            logger.info(f"Session {name} ended.")
            del session
            await memory.give_back()

    async def drain(self) -> None:
        """Takes no more calls, lets every live turn end within the bound, then hangs up."""
        self.draining = True
        within_s = self._settings.server.drain_timeout_s
        await asyncio.gather(*(session.hang_up(within_s) for session in self._sessions))
        # What is being said plays to its end, but no longer than another such while.
        for _ in range(int(within_s * 10)):
            if not self._sessions:
                return
            await asyncio.sleep(0.1)
        await self.cancel()

    async def cancel(self) -> None:
        """Ends every conversation now."""
        self.draining = True
        await asyncio.gather(*(session.cancel() for session in self._sessions))
