"""A server that speaks with CSM, looked into while a call goes on."""

from pathlib import Path
from typing import Any

from pipecat_csm.history import turns_of
from pipecat_csm.services.conversation import CSMConversation

from tests.caller import Caller
from tests.e2e.waiting import until
from tests.inside import InsideServer

AGENT, CALLER = 0, 1
GREETING = "Hi, I'm Ada. What is on your mind?"


def csm_server(checkpoint: Path | str, **settings: Any) -> InsideServer:
    """Serves with a checkpoint's folder, or with csm-mini by its name."""
    named = {"tts.engine": "csm", "tts.csm.checkpoint": str(checkpoint)}
    csm = {"tts.engine": "csm-mini"} if checkpoint == "csm-mini" else named
    return InsideServer(**{"server.max_sessions": 2}, **csm, **settings)


def conversation(server: InsideServer) -> CSMConversation:
    found = server.session.mouth.conversation
    assert found is not None
    return found


async def at_rest(server: InsideServer) -> None:
    """Until what was sent has been heard, and the engine has followed."""
    here = conversation(server)
    await until(lambda: not here.busy and here.in_step)


async def speaks(caller: Caller, *, since: float) -> None:
    """Until the agent speaks, and is not interrupted again."""

    def speaking() -> bool:
        begun = [m.at for m in caller.messages if m.type == "bot-started-speaking"]
        return bool(begun) and begun[-1] > max([since, *caller.interruptions])

    await caller.wait(speaking, what="an answer")


def since_greeting(messages: list[Any]) -> list[tuple[str, str]]:
    """A prompt's conversation, without what the language model is made to believe before it."""
    begin = next(i for i, m in enumerate(messages) if m["content"] == GREETING)
    return [(m["role"], m["content"]) for m in messages[begin:]]


def written(server: InsideServer) -> list[tuple[str, str]]:
    """The conversation as the language model knows it."""
    return since_greeting([*server.session.context.messages])


def as_written(server: InsideServer) -> list[tuple[str, str]]:
    """The same, as the history has it."""
    roles = {AGENT: "assistant", CALLER: "user"}
    return [(roles[who], text) for who, text in turns_of(conversation(server).history.heard)]
