"""The server as one ASGI app: the page, its websocket and WebRTC doors, health and metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from loguru import logger
from pipecat.transports.smallwebrtc.connection import IceServer, SmallWebRTCConnection
from pipecat.transports.smallwebrtc.request_handler import (
    IceCandidate,
    SmallWebRTCPatchRequest,
    SmallWebRTCRequest,
    SmallWebRTCRequestHandler,
)
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from agent import __version__, voices_api
from agent.calls import Calls, Removed, Unavailable
from agent.lines import Line
from agent.metrics import Metrics
from agent.origins import Origins
from agent.resources import page_dir
from agent.settings import Settings
from agent.webrtc import WebRTCPeer, flaw_of, run_call
from agent.wire import GuardedSerializer

# An offer with many candidates takes 10 kB.
MAX_BODY_BYTES = 64 * 1024
_HANG_UP_S = 5.0
# Websocket close codes, RFC 6455 section 7.4.
_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013

_FOREIGN = "This page may not use the server; see server.allowed_origins."
_LAPSED = "The reservation has lapsed. Please start again."


class StartRequest(BaseModel):
    """What a client asks for before it connects."""

    model_config = ConfigDict(extra="forbid")

    persona: str | None = Field(default=None, max_length=40)
    transport: str = Field(default="websocket", max_length=20)


class Offer(BaseModel):
    """A WebRTC offer as Pipecat's client sends it."""

    sdp: str
    type: str
    pc_id: str | None = None
    restart_pc: bool | None = None


class Candidates(BaseModel):
    """Trickled ICE candidates."""

    class Candidate(BaseModel):
        """One candidate line of an SDP."""

        candidate: str
        sdp_mid: str
        sdp_mline_index: int

    pc_id: str
    candidates: list[Candidate] = Field(max_length=100)


def create_app(settings: Settings, calls: Calls, metrics: Metrics) -> FastAPI:
    """Builds the app around `calls`, which must be made ready by whoever loads the models."""
    webrtc = SmallWebRTCRequestHandler(
        ice_servers=[IceServer(urls=url) for url in settings.server.ice_servers]
    )
    origins = Origins(settings.server.host, settings.server.allowed_origins)
    webrtc_calls: set[asyncio.Task[None]] = set()
    peers: set[WebRTCPeer] = set()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        studio.close()
        await calls.cancel()
        await webrtc.close()
        if webrtc_calls:
            # The models must outlive the calls that use them.
            await asyncio.wait(webrtc_calls, timeout=_HANG_UP_S)

    app = FastAPI(
        title="csm-agent",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        max_body_size=MAX_BODY_BYTES,
    )

    async def check_origin(request: Request, call_next: RequestResponseEndpoint) -> Response:
        if not origins.allow(request.headers):
            return JSONResponse({"error": _FOREIGN}, 403)
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=check_origin)
    studio = voices_api.mount(app, settings, calls)

    @app.exception_handler(StarletteHTTPException)
    async def in_words(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    @app.exception_handler(RequestValidationError)
    async def which_field(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"error": f"{field or 'The body'}: {first['msg']}."}, 422)

    @app.get("/api/personas")
    async def personas() -> dict[str, object]:
        shown = {"name", "display_name", "description", "language", "greeting"}
        return {
            "default": settings.persona,
            "personas": [
                persona.model_dump(include=shown)
                for persona in calls.personas.values()
                if persona.is_there
            ],
        }

    @app.get("/api/config")
    async def config() -> dict[str, object]:
        return {
            "version": __version__,
            "transports": settings.transports,
            "max_sessions": settings.server.max_sessions,
            "ice_servers": [{"urls": url} for url in settings.server.ice_servers],
            "recordings": voices_api.offered(settings),
        }

    @app.post("/api/start")
    async def start(request: StartRequest) -> dict[str, str]:
        if request.transport not in settings.transports:
            raise HTTPException(422, f"There is no transport {request.transport!r} here.")
        line = _reserve(calls, request.persona or settings.persona)
        door = "/ws" if request.transport == "websocket" else "/api/offer"
        return {"session": line.token, "url": f"{door}?session={line.token}"}

    @app.websocket("/ws")
    async def websocket_call(
        websocket: WebSocket,
        session: str | None = None,
        persona: Annotated[str | None, Query(max_length=40)] = None,
    ) -> None:
        if not origins.allow(websocket.headers):
            await websocket.close(_POLICY_VIOLATION, _FOREIGN)
            return
        # A browser cannot read why a handshake failed, so refusals come after it.
        await websocket.accept()
        line = await _line_for(websocket, calls, session, persona or settings.persona)
        if line is None:
            return
        transport = FastAPIWebsocketTransport(
            websocket,
            FastAPIWebsocketParams(
                serializer=GuardedSerializer(),
                audio_in_enabled=True,
                audio_out_enabled=True,
                audio_out_end_silence_secs=0,
            ),
        )
        await calls.run(line, transport, "websocket")

    @app.post("/api/offer")
    async def offer(request: Offer, session: str | None = None) -> dict[str, str]:
        if flaw := flaw_of(request.sdp):
            raise HTTPException(400, flaw)
        line = None
        peer = next((peer for peer in peers if request.pc_id in peer.ids), None)
        if request.pc_id is None:
            line = _take(calls, session or "")
        elif peer is None:
            raise HTTPException(404, "There is no such call.")
        begun = False

        async def begin(connection: SmallWebRTCConnection) -> None:
            nonlocal begun, peer
            assert line is not None  # a peer that is known has begun already
            begun = True
            peer = WebRTCPeer(connection)
            peers.add(peer)
            task = asyncio.create_task(run_call(calls, line, peer))
            webrtc_calls.add(task)
            task.add_done_callback(webrtc_calls.discard)
            task.add_done_callback(lambda _: peers.discard(peer))

        asked = SmallWebRTCRequest(
            sdp=request.sdp, type=request.type, pc_id=request.pc_id, restart_pc=request.restart_pc
        )
        try:
            answer = await webrtc.handle_web_request(asked, begin)
        except Exception as error:
            logger.warning(f"Refused a WebRTC offer: {error}")
            raise HTTPException(400, "The WebRTC offer could not be answered.") from None
        finally:
            if line is not None and not begun:
                calls.release(line)
        # Without a peer or an answer for it, the handler has raised.
        assert answer is not None
        assert peer is not None
        peer.watch()
        return answer

    @app.patch("/api/offer")
    async def candidates(request: Candidates) -> dict[str, str]:
        patch = SmallWebRTCPatchRequest(
            pc_id=request.pc_id,
            candidates=[IceCandidate(**c.model_dump()) for c in request.candidates],
        )
        await webrtc.handle_patch_request(patch)
        return {"status": "success"}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        status = {"status": calls.state, "live_sessions": calls.live}
        return JSONResponse(status, 200 if calls.state == "ready" else 503)

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    app.mount("/", StaticFiles(directory=page_dir(), html=True), name="page")
    return app


def _reserve(calls: Calls, persona: str) -> Line:
    try:
        return calls.reserve(persona)
    except Unavailable as error:
        raise HTTPException(503, str(error)) from None
    except Removed as error:
        raise HTTPException(410, str(error)) from None
    except KeyError:
        raise HTTPException(404, f"There is no persona {persona!r}.") from None


def _take(calls: Calls, token: str) -> Line:
    try:
        line = calls.take(token)
    except Unavailable as error:
        raise HTTPException(503, str(error)) from None
    if line is None:
        raise HTTPException(409, _LAPSED)
    return line


async def _line_for(
    websocket: WebSocket, calls: Calls, token: str | None, persona: str
) -> Line | None:
    """The caller's line: the one that he reserved, or a new one if he reserved none."""
    try:
        return _take(calls, token if token is not None else _reserve(calls, persona).token)
    except HTTPException as error:
        busy = error.status_code == 503
        await websocket.close(_TRY_AGAIN_LATER if busy else _POLICY_VIOLATION, error.detail)
        return None
