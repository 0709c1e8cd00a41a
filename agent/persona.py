"""Personas: who the agent is. A prompt, a manner and a voice in one folder.

`configs/personas/<name>/persona.yaml` and the recordings that it names; see `configs/personas/ada`
for every field. `csm-agent persona add` makes such a folder out of recordings.
"""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent.config import ConfigError, explain, nearest, read_yaml
from agent.reference import Reference, check_references
from agent.resources import configs_dir

# What every persona is told, since its words are spoken and never read.
SPEAKABLE = (
    "You are speaking aloud with one person in a live conversation. Answer in one or two short "
    "sentences of plain spoken English. Use no lists, no markdown, no emoji and no headings."
)

FILE = "persona.yaml"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

# Something is said: neither nothing nor blanks alone.
Statement = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class Voice(BaseModel):
    """A voice and the right to use it.

    With CSM it is the voice of the references; without, or without references, Kokoro's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    references: tuple[Reference, ...] = Field(
        default=(), max_length=8, description="Recordings that lend CSM the voice."
    )
    speaker: int = Field(
        default=0, ge=0, le=65_535, description="CSM's number for who speaks in the references."
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="CSM: 0 is always the likeliest; more is livelier. null: the model's own, 0.9.",
    )
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=2048,
        description="CSM: how many codes to draw from. null: the model's own, 50.",
    )
    kokoro: str = Field(
        description="Where CSM is not: a voice of the embedded Kokoro, such as af_heart, or a "
        "blend, as af_heart:70,bm_george:30."
    )
    speed: float = Field(default=1.0, ge=0.5, le=2.0, description="Kokoro's pace.")
    licence: Statement = Field(
        description="Under which terms the voice may be used.",
        examples=["My own voice, for this agent only."],
    )
    consent: Statement = Field(
        description="Who agreed to its use, and how.",
        examples=["It is my own voice; I recorded it for this agent on 3 May 2026."],
    )


class Example(BaseModel):
    """One exchange in the persona's manner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caller: str = Field(min_length=1, max_length=500)
    agent: str = Field(min_length=1, max_length=500)


class Persona(BaseModel):
    """One character that callers can choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    folder: Path = Field(description="Where its file lies, and its recordings.")
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

    @property
    def is_there(self) -> bool:
        """Whether its file still is; a person may remove a persona while the server runs."""
        return (self.folder / FILE).is_file()


def personas_dir(chosen: Path | None = None) -> Path | None:
    """The folder of the user's own personas: the chosen one, or his own if it exists."""
    if chosen is not None:
        return chosen.expanduser()
    own = user_personas_dir()
    return own if own.is_dir() else None


def user_personas_dir() -> Path:
    """Where `csm-agent persona add` puts personas unless told otherwise; need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "csm-agent" / "personas"


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
        for path in sorted(folder.glob(f"*/{FILE}")):
            persona = load_persona(path)
            personas[persona.name] = persona
    return personas


def load_persona(path: Path) -> Persona:
    """Reads one persona file; the folder's name is the persona's name.

    Raises:
        ConfigError: The file is broken, or a recording is missing, unreadable, outside the folder,
            or too long together with the others.
    """
    name = check_name(path.absolute().parent.name)
    data = read_yaml(path, "persona")
    try:
        persona = Persona.model_validate({**data, "name": name, "folder": path.parent})
    except ValidationError as error:
        raise ConfigError(explain(error, f"persona {path}", Persona)) from None
    check_references(persona.folder, persona.voice.references, f"persona {path}")
    return persona


def check_name(name: str) -> str:
    """A persona's name, which is its folder's too.

    Raises:
        ConfigError: It could not be one.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"A persona's name, {name!r}, is 1 to 40 lower-case letters, digits, - and _."
        )
    return name


def choose(personas: dict[str, Persona], name: str) -> Persona:
    """Finds a persona by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name in personas:
        return personas[name]
    raise ConfigError(f"There is no persona {name!r}{nearest(name, personas)}")
