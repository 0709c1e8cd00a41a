"""Recordings that people bring to a running server: one is examined at a time, few may wait.

What was examined stays in memory until a persona is made of it, for half an hour at most; nothing
of it reaches a disk before its speaker's consent does.
"""

import asyncio
import io
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from loguru import logger
from pipecat_whisper import EngineBusyError, WhisperEngine

from agent.config import ConfigError
from agent.models import is_available, resolve
from agent.persona import FILE, Persona
from agent.voices import checks
from agent.voices.checks import Finding
from agent.voices.encoder import SpeakerEncoder
from agent.voices.examining import ENCODER, Examined, Examiner
from agent.voices.making import (
    Character,
    Kept,
    Rights,
    make_persona,
    nearest_voice,
    normalised,
)
from agent.voices.recording import RecordingError, read_sound
from agent.voices.shelf import Shelf
from agent.voices.words import compare

# 30 s of 48 kHz, 16 bits, stereo, are 5.8 MB.
MAX_RECORDING_BYTES = 6_000_000
MAX_OWN_PERSONAS = 100

# Three minutes can be listened to, to be told that they are too many.
_LONGEST_READ_S = 200.0
_MAX_WAITING = 3

Result = TypeVar("Result")

_BUSY = "Other recordings are being listened to. Please try again in a minute."
_FIRST = "the first recording"


class StudioBusy(RuntimeError):
    """Too many wait already; the sentence is for the one who came too late."""


class Refusal(Exception):
    """Something that is asked for cannot be; one sentence says why, and what to do."""

    def __init__(self, sentence: str, field: str = "", recording: str = "") -> None:
        """Says so.

        Args:
            sentence: For a person.
            field: What it is about: `name`, `consent`, `recordings`, ...; "" for all of it.
            recording: The token of the recording that it is about, if of one.
        """
        super().__init__(sentence)
        self.field = field
        self.recording = recording


@dataclass(frozen=True)
class Words:
    """What is said in an examined recording.

    Attributes:
        recording: The token that it got.
        text: Word for word.
        sure: A person insists on it, whatever Whisper heard.
    """

    recording: str
    text: str
    sure: bool = False


class Studio:
    """Examines recordings and makes personas of them, off the event loop and one after another."""

    def __init__(
        self,
        folder: Path,
        personas: MutableMapping[str, Persona],
        whisper: Callable[[], WhisperEngine | None],
        *,
        in_company: Callable[[], bool],
    ) -> None:
        """Loads nothing yet.

        Args:
            folder: Of the user's own personas; it need not exist.
            personas: All of them by name; a new one is added.
            whisper: The server's, or None while it loads.
            in_company: Whether conversations may need Whisper now; they go first.
        """
        self._folder = folder
        self._personas = personas
        self._whisper = whisper
        self._in_company = in_company
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="studio")
        self._inside = 0
        self._shelf = Shelf()

    @property
    def ready(self) -> bool:
        """Whether there is a Whisper to listen with."""
        return self._whisper() is not None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds one of the few places, from before a recording is received.

        Raises:
            StudioBusy: All are taken.
        """
        if self._inside > _MAX_WAITING:
            raise StudioBusy(_BUSY)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def examine(
        self, data: bytes, first: str | None = None
    ) -> tuple[str, Examined, Finding | None]:
        """Listens to a recording and keeps it for a while. Hold a place.

        Args:
            data: A file's bytes.
            first: The token of the persona's first recording, with whose voice it is compared.

        Returns:
            The token that it is called by from now on, what was found, and whether it is the voice
            of the first recording.

        Raises:
            Refusal: It cannot be read as a recording.
            StudioBusy: Conversations leave no time to listen.
            WhisperEngineError: Whisper failed.
        """
        beside = self.examined(first) if first else None
        examined, same = await self._run(partial(self._examine, data, beside))
        return self._shelf.put(examined), examined, same

    def examined(self, token: str) -> Examined:
        """What was found in a recording.

        Raises:
            Refusal: It has been forgotten since.
        """
        examined = self._shelf.get(token)
        if examined is None:
            raise Refusal(
                "The server has forgotten this recording; remove it, and add it again.",
                "recordings",
                token,
            )
        return examined

    def forget(self, token: str) -> None:
        """Lets a recording go; one that is gone already stays gone."""
        self._shelf.forget(token)

    def check_words(self, words: Words) -> Finding:
        """Whether a text is what was heard.

        Raises:
            Refusal: The recording has been forgotten, or the text cannot be used.
        """
        heard = self.examined(words.recording).transcript
        return checks.check_words(compare(_read(words), heard))

    async def create(
        self, name: str, character: Character, said: Sequence[Words], rights: Rights
    ) -> Persona:
        """Makes a persona and lets its recordings go. Hold a place.

        Args:
            name: A checked name (`check_name`).
            character: Who it is.
            said: Its recordings, at least one, with their words.
            rights: The note on its voice.

        Raises:
            Refusal: The name is taken, a recording cannot be used, or there are too many.
            ConfigError: It cannot be written.
        """
        taken = self._personas.get(name)
        if taken is not None and taken.is_there:
            raise Refusal(f"There is a persona {name!r} already; choose another name.", "name")
        kept = [Kept(self._usable(one.recording), _read(one)) for one in said]
        for one in said:
            if not one.sure and (flaw := self.check_words(one)).grade == "refused":
                raise Refusal(flaw.sentence, "recordings", one.recording)
        if flaw := checks.check_together([(one.examined.duration_s, one.text) for one in kept]):
            raise Refusal(flaw.sentence, "recordings")
        tokens = [one.recording for one in said]
        persona = await self._run(partial(self._create, name, character, kept, tokens, rights))
        self._personas[name] = persona
        for token in tokens:
            self.forget(token)
        logger.info(f"Added the persona {name} in {persona.folder}.")
        return persona

    def close(self) -> None:
        """Lets everything go; what is being listened to is heard to its end."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._shelf.clear()

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except EngineBusyError:
            raise StudioBusy(_BUSY) from None
        except RecordingError as error:
            raise Refusal(str(error)) from None

    def _usable(self, token: str) -> Examined:
        examined = self.examined(token)
        if not examined.is_usable:
            [flaw, *_] = [one for one in examined.findings if one.grade == "refused"]
            raise Refusal(flaw.sentence, "recordings", token)
        return examined

    # From here on: on the studio's thread.

    @cached_property
    def _examiner(self) -> Examiner:
        whisper = self._whisper()
        assert whisper is not None, "only a ready studio is asked"
        encoder = SpeakerEncoder(resolve(ENCODER, "speaker")) if is_available(ENCODER) else None
        return Examiner(whisper, encoder, in_company=self._in_company)

    def _examine(self, data: bytes, beside: Examined | None) -> tuple[Examined, Finding | None]:
        recording = read_sound(
            io.BytesIO(data),
            "The file",
            "ffmpeg -i FILE voice.wav",
            longest_s=_LONGEST_READ_S,
        )
        examined = self._examiner.examine(recording)
        return examined, beside and self._examiner.compare(examined, beside, _FIRST)

    def _create(
        self,
        name: str,
        character: Character,
        kept: Sequence[Kept],
        tokens: Sequence[str],
        rights: Rights,
    ) -> Persona:
        folder = self._folder / name
        if folder.exists():
            raise Refusal(f"There is a persona {name!r} already; choose another name.", "name")
        if sum(1 for _ in self._folder.glob(f"*/{FILE}")) >= MAX_OWN_PERSONAS:
            raise Refusal(
                f"There are {MAX_OWN_PERSONAS} personas of your own already; remove one first, "
                "with `csm-agent persona remove NAME`."
            )
        first = kept[0].examined
        for one, token in zip(kept[1:], tokens[1:], strict=True):
            same = self._examiner.compare(one.examined, first, _FIRST)
            if same is not None and same.grade == "refused":
                raise Refusal(same.sentence, "recordings", token)
        return make_persona(
            folder,
            character,
            kept,
            rights,
            fallback_voice=nearest_voice(self._examiner, first),
            maker="csm-agent's page",
        )


def _read(words: Words) -> str:
    if not words.text.strip():
        raise Refusal("Write down what is said in it.", "recordings", words.recording)
    try:
        return normalised(words.text)
    except ConfigError as error:
        raise Refusal(str(error), "recordings", words.recording) from None
