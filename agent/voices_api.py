"""Making a persona in the page: recordings come in and are examined, and a persona is made of them.

    POST   /api/recordings?first=TOKEN   a file's bytes; what was found, and a token to call it by
    POST   /api/recordings/TOKEN/words   is this what is said in it?
    DELETE /api/recordings/TOKEN         let it go
    POST   /api/personas                 a persona of examined recordings

The rules against other sites' pages are the server's, and hold here too.
"""

import asyncio
import sys
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from loguru import logger
from pipecat_whisper import WhisperEngineError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import ClientDisconnect

from agent.calls import Calls
from agent.config import ConfigError
from agent.models import ModelError
from agent.origins import is_loopback
from agent.persona import Persona, check_name, user_personas_dir
from agent.settings import Settings
from agent.voices.checks import LONGEST_S, SHORTEST_S
from agent.voices.making import Character, Rights, in_the_manner_of
from agent.voices.studio import MAX_RECORDING_BYTES, Refusal, Studio, StudioBusy, Words

_UPLOAD_S = 60.0
_MOST_RECORDINGS = 8

_NOT_HERE = "This server makes no personas; whoever runs it can set server.add_personas to true."
_LOADING = "The agent is still loading its models. Please try again shortly."
_TOO_LARGE = (
    f"The file is larger than {MAX_RECORDING_BYTES / 1e6:.0f} MB; a reference lasts "
    f"{LONGEST_S:.0f} s at most, best 10 to 20 s. Cut out the best part."
)
_TOO_SLOW = "The file took too long to arrive. Please try again."
_NO_CONSENT = (
    "Add whose voice it is and how that person agreed, as in: It is my own voice; I recorded it "
    "for this agent."
)
_NO_LICENCE = "Add under which terms the recordings may be used, as in: For my own use only."

Token = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]


class SaidWords(BaseModel):
    """A text that a person believes is said in a recording."""

    model_config = ConfigDict(extra="forbid")

    text: Line


class Said(SaidWords):
    """A recording of the new persona."""

    recording: Token
    sure: bool = Field(default=False, description="A person insists, whatever Whisper heard.")


class NewPersona(BaseModel):
    """What a person says of the persona that is to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    display_name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)
    ]
    description: Annotated[str, StringConstraints(strip_whitespace=True, max_length=120)] = ""
    recordings: list[Said] = Field(min_length=1, max_length=_MOST_RECORDINGS)
    consent: Line = ""
    licence: Line = ""
    like: str | None = Field(
        default=None, max_length=40, description="Whose manner it has, by name."
    )
    prompt: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] = ""
    greeting: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""


def offered(settings: Settings) -> dict[str, float] | None:
    """What the page may bring, or None where personas are not made in it."""
    allowed = settings.server.add_personas
    if not (is_loopback(settings.server.host) if allowed is None else allowed):
        return None
    return {
        "max_bytes": MAX_RECORDING_BYTES,
        "shortest_s": SHORTEST_S,
        "longest_s": LONGEST_S,
        "most": _MOST_RECORDINGS,
    }


def mount(app: FastAPI, settings: Settings, calls: Calls) -> Studio:
    """Adds the endpoints; whoever does so closes the studio at the end."""
    folder = settings.personas_dir or user_personas_dir()
    studio = Studio(
        folder.expanduser(),
        calls.personas,
        lambda: calls.services.whisper,
        in_company=lambda: calls.live > 0,
    )

    async def allowed() -> None:
        if offered(settings) is None:
            raise HTTPException(403, _NOT_HERE)
        if not studio.ready:
            raise HTTPException(503, _LOADING)

    router = APIRouter(prefix="/api", dependencies=[Depends(allowed)])

    # The bytes are counted as they come, so that the refusal is a sentence.
    @router.post("/recordings", max_body_size=sys.maxsize)
    async def examine(
        request: Request, first: Annotated[str | None, Query(max_length=64)] = None
    ) -> dict[str, object]:
        with studio.place():
            token, examined, same = await studio.examine(await _received(request), first)
        return {
            "recording": token,
            "duration_s": examined.duration_s,
            "steps": examined.steps,
            "findings": [asdict(finding) for finding in examined.findings],
            "same_voice": asdict(same) if same else None,
            "usable": examined.is_usable,
            "transcript": examined.transcript,
        }

    @router.post("/recordings/{token}/words")
    async def words(token: str, said: SaidWords) -> dict[str, str]:
        return asdict(studio.check_words(Words(token, said.text)))

    @router.delete("/recordings/{token}")
    async def forget(token: str) -> dict[str, str]:
        studio.forget(token)
        return {"status": "forgotten"}

    @router.post("/personas", status_code=201)
    async def create(wanted: NewPersona) -> dict[str, str]:
        try:
            name = check_name(wanted.name)
        except ConfigError as error:
            raise Refusal(str(error), "name") from None
        for field, text, what in (
            ("consent", wanted.consent, _NO_CONSENT),
            ("licence", wanted.licence, _NO_LICENCE),
        ):
            if not text:
                raise Refusal(what, field)
        with studio.place():
            persona = await studio.create(
                name,
                _character(wanted, calls),
                [Words(one.recording, one.text, one.sure) for one in wanted.recordings],
                Rights(wanted.consent, wanted.licence),
            )
        return {"name": persona.name, "fallback_voice": persona.voice.kokoro}

    app.include_router(router)
    _speak_in_words(app)
    return studio


def _character(wanted: NewPersona, calls: Calls) -> Character:
    # One line: it is shown on a card, and spoken of in the prompt.
    display_name = " ".join(wanted.display_name.split())
    if wanted.like is None:
        return Character(display_name, wanted.description, wanted.prompt, wanted.greeting)
    model: Persona | None = calls.personas.get(wanted.like)
    if model is None:
        raise Refusal(f"There is no persona {wanted.like!r} to be like.", "like")
    if wanted.prompt or wanted.greeting:
        raise Refusal("A persona is like another one, or has a prompt of its own.", "like")
    return in_the_manner_of(model, display_name, wanted.description)


async def _received(request: Request) -> bytes:
    """The body, as far as it may go.

    Raises:
        HTTPException: It is too large, too slow, or its sender has left.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_RECORDING_BYTES:
        raise HTTPException(413, _TOO_LARGE)
    data = bytearray()
    try:
        async with asyncio.timeout(_UPLOAD_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MAX_RECORDING_BYTES:
                    raise HTTPException(413, _TOO_LARGE)
    except TimeoutError:
        raise HTTPException(408, _TOO_SLOW) from None
    except ClientDisconnect:
        raise HTTPException(400, "The file did not arrive whole.") from None
    if not data:
        raise HTTPException(422, "The file is empty: it holds no sound.")
    return bytes(data)


def _speak_in_words(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        about = {"field": error.field, "recording": error.recording}
        return JSONResponse({"error": str(error), **about}, 422)

    @app.exception_handler(StudioBusy)
    async def busy(request: Request, error: StudioBusy) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 503)

    @app.exception_handler(ConfigError)
    @app.exception_handler(ModelError)
    @app.exception_handler(WhisperEngineError)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        logger.error(f"A persona could not be made: {error}")
        return JSONResponse({"error": str(error)}, 500)
