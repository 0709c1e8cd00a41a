"""Personas: who the agent is. A prompt, a manner and a voice in one file.

`configs/personas/<name>/persona.yaml`; see `configs/personas/ada` for every field.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.config import ConfigError, explain, nearest, read_yaml
from agent.resources import configs_dir

# What every persona is told, since its words are spoken and never read.
SPEAKABLE = (
    "You are speaking aloud with one person in a live conversation. Answer in one or two short "
    "sentences of plain spoken English. Use no lists, no markdown, no emoji and no headings."
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Voice(BaseModel):
    """A voice and the right to use it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kokoro: str = Field(description="A voice of the embedded Kokoro, such as af_heart.")
    speed: float = Field(default=1.0, ge=0.5, le=2.0)
    licence: str = Field(min_length=1, description="Under which terms the voice may be used.")
    consent: str = Field(min_length=1, description="Who agreed to its use, and how.")


class Example(BaseModel):
    """One exchange in the persona's manner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caller: str = Field(min_length=1, max_length=500)
    agent: str = Field(min_length=1, max_length=500)


class Persona(BaseModel):
    """One character that callers can choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    display_name: str = Field(min_length=1, max_length=40)
    description: str = Field(default="", max_length=120)
    language: str = Field(default="en", pattern=r"^[a-z]{2}(-[A-Z]{2})?$")
    prompt: str = Field(min_length=1, max_length=8000)
    greeting: str = Field(default="", max_length=500)
    apology: str = Field(
        default="Sorry, I lost my train of thought. Could you say that again?", max_length=200
    )
    examples: tuple[Example, ...] = Field(
        default=(), max_length=20, description="Exchanges that show a tiny model the manner."
    )
    voice: Voice

    @property
    def system_prompt(self) -> str:
        """The persona's prompt with the rules that make its answers speakable."""
        return f"{self.prompt.strip()}\n\n{SPEAKABLE}"


def load_personas(extra_dir: Path | None = None) -> dict[str, Persona]:
    """Reads the shipped personas and those of `extra_dir`, which win over shipped ones.

    Raises:
        ConfigError: A persona file is broken; the sentence names the file and the field.
    """
    personas: dict[str, Persona] = {}
    for folder in (configs_dir() / "personas", extra_dir):
        if folder is None:
            continue
        if not folder.is_dir():
            raise ConfigError(f"There is no folder of personas at {folder}.")
        for path in sorted(folder.glob("*/persona.yaml")):
            persona = load_persona(path)
            personas[persona.name] = persona
    return personas


def load_persona(path: Path) -> Persona:
    """Reads one persona file; the folder's name is the persona's name.

    Raises:
        ConfigError: The file is broken.
    """
    name = path.parent.name
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"The persona folder {name!r} needs a name of lower-case letters, digits, - and _."
        )
    data = read_yaml(path, "persona")
    try:
        return Persona.model_validate({**data, "name": name})
    except ValidationError as error:
        raise ConfigError(explain(error, f"persona {path}", Persona)) from None


def choose(personas: dict[str, Persona], name: str) -> Persona:
    """Finds a persona by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name in personas:
        return personas[name]
    raise ConfigError(f"There is no persona {name!r}{nearest(name, personas)}")
