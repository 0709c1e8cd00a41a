"""From examined recordings to a persona: what the command and the page both need to make one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config import ConfigError
from agent.persona import Persona, load_personas
from agent.reference import reference_path
from agent.voices.examining import Examined, Examiner
from agent.voices.recording import read_recording
from agent.voices.writing import write_persona

_ANY_VOICE = "af_heart"


@dataclass(frozen=True)
class Kept:
    """A recording as the persona will have it, with its words."""

    examined: Examined
    text: str


@dataclass(frozen=True)
class Character:
    """Who the persona is, beside its voice.

    Attributes:
        prompt: Who it is and how it speaks; "" says no more than its name.
        greeting: What it says first; "" is a plain one.
        more: Further fields of persona.yaml.
    """

    display_name: str
    description: str = ""
    prompt: str = ""
    greeting: str = ""
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rights:
    """That the voice may be used: who agreed, and under which terms."""

    consent: str
    licence: str


def make_persona(
    folder: Path,
    character: Character,
    kept: Sequence[Kept],
    rights: Rights,
    *,
    fallback_voice: str,
    maker: str,
    replace: bool = False,
) -> Persona:
    """Writes the persona's folder, whole or not at all.

    Args:
        folder: The persona's, named as the persona.
        character: Who it is.
        kept: Its recordings, at least one.
        rights: The note on its voice.
        fallback_voice: Kokoro's, for where CSM is not.
        maker: What made it, for the first line of the file.
        replace: Whether a folder of that name gives way.

    Raises:
        ConfigError: It cannot be written, or what was written could not be read again.
    """
    name = character.display_name
    return write_persona(
        folder,
        {
            "display_name": name,
            "description": character.description,
            "language": "en",
            "prompt": character.prompt or f"You are {name}. You are friendly and to the point.",
            "greeting": character.greeting or f"Hi, I'm {name}. What can I do for you?",
            **character.more,
            "voice": {
                "kokoro": fallback_voice,
                "licence": rights.licence,
                "consent": rights.consent,
            },
        },
        [(one.examined.audio, one.text) for one in kept],
        maker=maker,
        replace=replace,
    )


def in_the_manner_of(persona: Persona, display_name: str, description: str = "") -> Character:
    """Another persona's character under a name of its own.

    Args:
        persona: Whose prompt, greeting, apology and examples it takes over.
        display_name: What it is called wherever the other's name stood.
        description: One line for the page.
    """
    old = re.compile(rf"\b{re.escape(persona.display_name)}\b")

    def renamed(text: str) -> str:
        return old.sub(lambda _: display_name, text)

    return Character(
        display_name=display_name,
        description=description,
        prompt=renamed(persona.prompt),
        greeting=renamed(persona.greeting),
        more={
            "apology": renamed(persona.apology),
            "examples": [
                {"caller": one.caller, "agent": renamed(one.agent)} for one in persona.examples
            ],
        },
    )


def normalised(text: str) -> str:
    """The words of a recording as CSM reads them.

    Raises:
        ConfigError: They hold what cannot be read.
    """
    from pipecat_csm.errors import TextError
    from pipecat_csm.text import normalise

    try:
        return normalise(text)
    except TextError as error:
        raise ConfigError(f"The text of a recording cannot be used: {error}") from None


def nearest_voice(examiner: Examiner, examined: Examined) -> str:
    """The fallback voice of the shipped persona whose recording is most like this one."""
    shipped = [
        (persona.voice.kokoro, read_recording(reference_path(persona.folder, reference)).mono())
        for persona in load_personas().values()
        for reference in persona.voice.references[:1]
    ]
    nearest = examiner.nearest(examined, [audio for _, audio in shipped])
    return _ANY_VOICE if nearest is None else shipped[nearest][0]
