"""The models that every conversation shares, and the services that a pipeline puts around them.

Models load once per process. A service belongs to one conversation and owns only its state.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from loguru import logger
from openai import AsyncOpenAI
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.stt_service import STTService
from pipecat.utils.text.transforms import TextTransform, VoiceFormatter
from pipecat_whisper import WhisperEngine, WhisperEngineError, WhisperSTTService

from agent.config import ConfigError
from agent.context_limit import CHARS_PER_TOKEN
from agent.draft import Draft
from agent.embedded.kokoro import Kokoro, KokoroError
from agent.embedded.kokoro_tts import KokoroTTSService
from agent.embedded.llm import EmbeddedLLM
from agent.llm_service import SharedClientLLMService, timed_client
from agent.models import ModelError, resolve
from agent.persona import Persona
from agent.settings import OLLAMA_URL, Settings
from agent.speaking.csm import CSMUnavailable, SharedCSM, why_not
from agent.speaking.mouth import Mouth, csm_mouth, kokoro_mouth

# Each takes a second at the start, on a small machine; a folder may hold any number of personas.
_WARM_OTHERS = 4


def spoken_form() -> TextTransform:
    """What still looks like writing is said as words: markup, numbers, dates, currencies."""
    # Acronyms stay: spelling out NASA or a shouted word sounds worse than reading it.
    return VoiceFormatter(expand_numbers=True, normalize_acronyms=False)


class Services:
    """Loads what the settings name and makes services of it, one set per conversation."""

    def __init__(self, settings: Settings, personas: Mapping[str, Persona]) -> None:
        """Loads nothing yet; see `load`.

        Args:
            settings: Which models, and which persona answers by default.
            personas: By name, whom callers may choose; the embedded language model learns their
                prompts before the first call.
        """
        self._settings = settings
        self._personas = personas
        self._whisper: WhisperEngine | None = None
        self._kokoro: Kokoro | None = None
        self.csm: SharedCSM | None = None
        """CSM, if it was loaded."""
        self._why_not_csm = ""
        self._llm: EmbeddedLLM | None = None
        self._client: AsyncOpenAI | None = None

    async def load(self, say: Callable[[str], None] = logger.info) -> None:
        """Finds, checks, loads and warms every model, and says each with its time.

        Raises:
            ModelError: A model is missing or broken; the sentence names the remedy.
            ConfigError: The language model's endpoint is not named.
        """
        for label, step in (
            (f"speech recognition ({self._settings.stt.model})", self._load_stt),
            (f"language model ({self._settings.llm.model})", self._load_llm),
            (f"voice ({self._settings.tts.model})", self._load_tts),
        ):
            started = time.monotonic()
            try:
                await step()
            except (KokoroError, WhisperEngineError) as error:
                raise ModelError(str(error)) from None
            say(f"Loaded {label} in {time.monotonic() - started:.1f} s.")
        await self._load_csm(say)

    @property
    def whisper(self) -> WhisperEngine | None:
        """What recognises every caller's speech, once it is loaded."""
        return self._whisper

    @property
    def alive(self) -> bool:
        """Whether nothing that was loaded has died since."""
        return self._llm is None or self._llm.alive

    async def close(self) -> None:
        """Stops the language model's server and lets the models go; a second time does nothing."""
        if self._client is not None:
            await self._client.close()
        if self._llm is not None:
            await asyncio.to_thread(self._llm.stop)
        if self.csm is not None:
            await self.csm.close()
        if self._whisper is not None:
            self._whisper.close()
        if self._kokoro is not None:
            self._kokoro.close()
        self._client = self._llm = self._whisper = self._kokoro = self.csm = None

    def build_stt(self, persona: Persona) -> STTService:
        """Speech recognition for one caller."""
        assert self._whisper is not None, "load() comes first"
        settings = WhisperSTTService.Settings(
            language=persona.language.split("-")[0],
            interim_interval_s=self._settings.stt.interim_interval_s,
        )
        return WhisperSTTService(engine=self._whisper, settings=settings)

    def build_llm(self, persona: Persona, draft: Draft | None = None) -> OpenAILLMService:
        """The language model for one caller, speaking as the persona.

        Args:
            persona: Whose system prompt it gets.
            draft: Follows what it writes before the caller has finished.
        """
        assert self._client is not None, "load() comes first"
        llm = self._settings.llm
        settings = OpenAILLMService.Settings(
            model=llm.model, system_instruction=persona.system_prompt, max_tokens=llm.max_tokens
        )
        if llm.temperature is not None:
            settings.temperature = llm.temperature
        leave = None
        if self._llm is not None:
            # A conversation that stays in its slot has only its newest words to be evaluated.
            slot = self._llm.take_slot()
            settings.extra = self._llm.request_options(slot)
            leave = partial(self._llm.leave_slot, slot)
        return SharedClientLLMService(
            client=self._client,
            draft=draft,
            settings=settings,
            on_cleanup=leave,
        )

    def opening_messages(self, persona: Persona) -> list[dict[str, str]]:
        """The turns that the conversation pretends to have had.

        A tiny model answers from examples far better than from instructions; a larger one needs
        none, and would quote them.
        """
        if self._settings.llm.provider != "embedded":
            return []
        return [
            {"role": role, "content": text}
            for example in persona.examples
            for role, text in (("user", example.caller), ("assistant", example.agent))
        ]

    def context_chars(self, persona: Persona) -> int:
        """How much of the conversation the language model may read, in characters."""
        tokens = self._settings.llm.context_tokens - self._settings.llm.max_tokens
        return max(1000, tokens * CHARS_PER_TOKEN - len(persona.system_prompt))

    async def build_mouth(self, persona: Persona) -> Mouth:
        """The persona's voice for one caller: CSM's where it speaks, beside the spare one."""
        kokoro = self.build_kokoro(persona)
        if self.csm is None:
            return kokoro_mouth(kokoro, self._why_not_csm)
        try:
            return await csm_mouth(
                self.csm,
                persona,
                kokoro,
                lead_s=self._settings.tts.csm_settings.lead_s,
                listener=self.whisper if self._settings.tts.csm_settings.listen_back else None,
                text_transforms=[("*", spoken_form())],
            )
        except CSMUnavailable as error:
            logger.warning(f"{persona.display_name} speaks with the spare voice: {error}")
            return kokoro_mouth(kokoro, str(error))

    def build_kokoro(self, persona: Persona) -> KokoroTTSService:
        """The persona's embedded voice for one caller."""
        assert self._kokoro is not None, "load() comes first"
        return KokoroTTSService(
            kokoro=self._kokoro,
            settings=KokoroTTSService.Settings(
                voice=persona.voice.kokoro,
                language=persona.language,
                speed=persona.voice.speed,
            ),
            text_transforms=[("*", spoken_form())],
        )

    def check_voice(self, persona: Persona) -> None:
        """Refuses a persona whose voice is not there.

        Raises:
            ConfigError: The sentence names the voices that there are.
        """
        assert self._kokoro is not None, "load() comes first"
        try:
            self._kokoro.check_voice(persona.voice.kokoro)
        except KokoroError as error:
            raise ConfigError(f"Persona {persona.name!r} cannot speak: {error}") from None

    async def _load_stt(self) -> None:
        stt = self._settings.stt
        path = await asyncio.to_thread(resolve, stt.model, "whisper")
        self._whisper = await asyncio.to_thread(
            WhisperEngine,
            path,
            device=stt.device,
            compute_type=stt.compute_type,
            cpu_threads=_threads(stt.threads),
        )
        await asyncio.to_thread(self._whisper.warm_up)

    async def _load_llm(self) -> None:
        llm = self._settings.llm
        url, key = llm.base_url, os.environ.get(llm.api_key_env)
        if llm.provider == "embedded":
            url = await self._start_embedded_llm()
        elif llm.provider == "ollama":
            url = url or OLLAMA_URL
        elif url is None and not key:
            raise ConfigError(
                f"The language model needs llm.base_url, or an API key in {llm.api_key_env}."
            )
        # The client wants a key even where the endpoint wants none.
        self._client = timed_client(url, key or "none", llm.timeout_s)

    async def _start_embedded_llm(self) -> str:
        llm = self._settings.llm
        path: Path = await asyncio.to_thread(resolve, llm.model, "llm")
        self._llm = EmbeddedLLM(
            path,
            slots=min(self._settings.server.max_sessions, 4),
            context_per_slot=llm.context_tokens,
        )
        url = await asyncio.to_thread(self._llm.start)
        default = self._personas[self._settings.persona]
        others = [persona for persona in self._personas.values() if persona is not default]
        await asyncio.to_thread(
            self._llm.warm_up,
            self._opening(default),
            [self._opening(persona) for persona in others[:_WARM_OTHERS]],
        )
        return url

    def _opening(self, persona: Persona) -> list[dict[str, str]]:
        """A first turn's messages before the caller's own, as Pipecat's service sends them."""
        system = {"role": "system", "content": persona.system_prompt}
        greeting = [{"role": "assistant", "content": persona.greeting}] if persona.greeting else []
        return [system, *self.opening_messages(persona), *greeting]

    async def _load_tts(self) -> None:
        tts = self._settings.tts
        path = await asyncio.to_thread(resolve, tts.model, "tts")
        self._kokoro = await asyncio.to_thread(Kokoro, path, threads=_threads(tts.threads))
        await asyncio.to_thread(self._kokoro.warm_up)

    async def _load_csm(self, say: Callable[[str], None]) -> None:
        """CSM, if it is wanted and can be had; else says once why Kokoro speaks."""
        tts = self._settings.tts
        if tts.engine == "kokoro":
            return
        why = await asyncio.to_thread(why_not, tts)
        if why is None:
            started = time.monotonic()
            csm = SharedCSM(tts.csm_settings, self._settings.server.max_sessions)
            try:
                await csm.load(say)
                # Its voice is the first that is wanted.
                await csm.voice(self._personas[self._settings.persona])
            except CSMUnavailable as error:
                await csm.close()
                why = str(error)
            else:
                self.csm = csm
                name, took_s = tts.csm_settings.checkpoint, time.monotonic() - started
                say(f"Loaded CSM ({name}) in {took_s:.1f} s.")
                return
        self._why_not_csm = why
        tell = say if tts.engine == "auto" else logger.warning
        tell(f"Kokoro speaks, not CSM: {why.rstrip('.')}.")


def _threads(wanted: int) -> int:
    return wanted or os.cpu_count() or 2
