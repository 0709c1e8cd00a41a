"""CSM, shared by all calls: loaded once, and loaded again when its device fails."""

import asyncio
import contextlib
import importlib.util
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from loguru import logger

from agent.config import ConfigError
from agent.machine import gpu
from agent.persona import Persona
from agent.restarts import RestartLimit
from agent.settings import CSMSettings, TTSSettings

if TYPE_CHECKING:
    from pipecat_csm import Generator, Segment
    from pipecat_csm.engine.engine import Engine
    from pipecat_csm.model.sampling import SamplingOptions

# CSM-1B's weights in bfloat16 are 3.3 GB, a session's context 76 MB; what graphs take comes on top.
LEAST_GPU_GB = 6.0
_LOOK_S = 1.0


class CSMUnavailable(RuntimeError):
    """CSM cannot speak here; the sentence says why, and what to do."""


def why_not(tts: TTSSettings) -> str | None:
    """Why CSM should not even be tried with these settings on this machine; None if it should.

    Looks without importing torch, which takes seconds and half a gigabyte.
    """
    if tts.engine == "kokoro":
        return "the settings choose Kokoro"
    absent = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} must be installed: pip install 'csm-agent[csm]'"
    if tts.engine == "auto":
        name, gigabytes = gpu()
        if name is None:
            return (
                "CSM-1B needs an NVIDIA GPU; tts.engine: csm has it run without one, and csm-mini "
                "is a small one for any machine"
            )
        if gigabytes < LEAST_GPU_GB:
            return (
                f"CSM-1B needs a GPU with {LEAST_GPU_GB:.0f} GB, and {name} has {gigabytes:.0f} GB"
            )
    return None


class SharedCSM:
    """CSM's engine, beside the voices that it has learned.

    When the engine fails, calls go on with their spare voices, and it is loaded again: at most
    five times in ten minutes, with pauses that double.
    """

    def __init__(
        self, settings: CSMSettings, sessions: int, *, limit: RestartLimit | None = None
    ) -> None:
        """Loads nothing yet; see `load`.

        Args:
            settings: Which checkpoint, and how it runs.
            sessions: Calls at once.
            limit: How often it may be loaded again.
        """
        self._settings, self._sessions = settings, sessions
        self._limit = limit or RestartLimit()
        self._generator: Generator | None = None
        self._voices: dict[str, tuple[Persona, list[Segment]]] = {}
        self._encoding = threading.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def engine(self) -> "Engine":
        """The engine; the last one, while another is loaded."""
        assert self._generator is not None, "load() comes first"
        return self._generator.engine

    @property
    def alive(self) -> bool:
        """Whether it can speak now."""
        return self._generator is not None and self._generator.engine.alive

    async def load(self, say: Callable[[str], None] = logger.info) -> None:
        """Loads the checkpoint, and from then on watches over the engine.

        Raises:
            CSMUnavailable: It cannot be had, or not be used here.
        """
        await asyncio.to_thread(self._load, say)
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stops the engine; a second time does nothing."""
        self._closed = True
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
        if self._generator is not None:
            await asyncio.to_thread(self._generator.close)

    def sampling(self, persona: Persona) -> "SamplingOptions":
        """How a persona's speech is drawn: as it says, else as the checkpoint does."""
        assert self._generator is not None, "load() comes first"
        return self._generator.sampling(persona.voice.temperature, persona.voice.top_k, seed=0)

    async def voice(self, persona: Persona) -> "list[Segment]":
        """A persona's references, encoded; they are encoded once.

        Raises:
            CSMUnavailable: A recording is gone, or cannot be used.
        """
        known = self._voices.get(persona.name)
        if known is not None and known[0] is persona:
            return known[1]
        voice = await asyncio.to_thread(self._encode, persona)
        self._voices[persona.name] = persona, voice
        return voice

    def _load(self, say: Callable[[str], None]) -> None:
        import torch
        from pipecat_csm import CSMError, load_csm_1b

        settings = self._settings
        try:
            self._generator = load_csm_1b(
                None if settings.device == "auto" else settings.device,
                checkpoint=settings.checkpoint,
                revision=settings.revision,
                dtype=None if settings.dtype == "auto" else getattr(torch, settings.dtype),
                quantize=settings.quantize,
                compile=None if settings.compile else False,
                max_sessions=self._sessions,
                progress=_Steps(say),
            )
        except CSMError as error:
            raise CSMUnavailable(str(error)) from None
        if self._closed:  # meanwhile
            self._generator.close()

    def _encode(self, persona: Persona) -> "list[Segment]":
        from pipecat_csm import CSMError, Segment

        from agent.voices.segments import reference_segments

        try:
            # One after another: the first call with each voice is not worth two on a CPU.
            with self._encoding:
                return [
                    segment
                    if segment.codes is not None or segment.audio is None
                    else Segment(
                        segment.text, segment.speaker, codes=self.engine.encode(segment.audio)
                    )
                    for segment in reference_segments(persona)
                ]
        except (ConfigError, CSMError) as error:
            raise CSMUnavailable(str(error)) from None

    async def _watch(self) -> None:
        """Loads the engine again whenever it has died."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.alive:
                continue
            pause_s = self._limit.next_pause_s(time.monotonic())
            if pause_s is None:
                logger.error(
                    f"CSM has failed {self._limit.restarts} times within "
                    f"{self._limit.within_s / 60:.0f} minutes; the spare voices speak until "
                    "csm-agent is restarted."
                )
                return
            logger.error(f"CSM has failed; spare voices speak. Loading it again in {pause_s:g} s.")
            await asyncio.sleep(pause_s)
            with contextlib.suppress(Exception):
                await asyncio.to_thread(self.engine.close)
            try:
                await asyncio.to_thread(self._load, logger.info)
                logger.info("CSM is back.")
            except Exception as error:  # whatever it is, the spare voices go on
                logger.error(f"CSM did not come back: {error}")


class _Steps:
    """Says every quarter of what takes long."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: tuple[str, int] = "", 0

    def __call__(self, what: str, done: int, of: int) -> None:
        quarter = what, 4 * done // max(1, of)
        if quarter != self._said and quarter[1]:
            self._say(f"CSM: {what}, {25 * quarter[1]} %")
        self._said = quarter
