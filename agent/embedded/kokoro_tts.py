"""Pipecat service around the embedded Kokoro voice."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language
from pipecat.utils.text.base_text_aggregator import TextType
from pipecat.utils.tracing.service_decorators import traced_tts
from pipecat.utils.types import NOT_GIVEN, NotGiven, is_given, require_given
from pipecat_csm.services.first_clause import FirstClauseAggregator

from agent.embedded.kokoro import Kokoro, Speech
from agent.embedded.kokoro_model import SAMPLE_RATE_HZ, KokoroError
from agent.embedded.phonemes import Accent

_FRAME_S = 0.08
_NOTHING_SAID_S = 0.1
# Pipecat closes a reply that has had no audio for this long. A busy machine, or a language
# model that thinks between two sentences, must not be cut off.
_SILENCE_TIMEOUT_S = 60.0


# Text, voice, speed, accent: what `Kokoro.stream` takes.
Wanted = tuple[str, str, float, Accent | None]


@dataclass
class KokoroTTSSettings(TTSSettings):
    """Settings of `KokoroTTSService`; each can be changed while it runs.

    ``voice`` is one of `Kokoro.voices`, or a blend of them. ``language`` is English: ``en-US`` or
    ``en-GB`` for an accent, or ``en`` for the voice's own.

    Parameters:
        speed: 0.5 to 2; 1.0 is the voice's own.
    """

    speed: float | NotGiven = field(default_factory=lambda: NOT_GIVEN)


@dataclass
class Reply:
    """How far the speech of one audio context has come."""

    started_s: float | None = None
    spoken_s: float = 0.0

    def next_begins_s(self) -> float:
        """When the next piece is heard, in seconds from the start of the reply.

        That is after all that was spoken, or now if playback has run dry.
        """
        if self.started_s is None:
            self.started_s = time.monotonic()
        return max(self.spoken_s, time.monotonic() - self.started_s)


@dataclass(frozen=True)
class HeadStart:
    """Speech that was begun before it was asked for."""

    wanted: Wanted
    pieces: AsyncGenerator[Speech]
    first: asyncio.Task[Speech | None]


class KokoroTTSService(TTSService):
    """Speaks with a shared `Kokoro`, clause by clause, and says when each word is heard.

    Word times let Pipecat keep in the conversation only what was heard before a barge-in.
    """

    Settings = KokoroTTSSettings
    _settings: KokoroTTSSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self, *, kokoro: Kokoro, settings: KokoroTTSSettings | None = None, **kwargs: Any
    ) -> None:
        """Make the service of one session; it starts no thread and loads nothing.

        Args:
            kokoro: The loaded voice model, shared by all sessions.
            settings: Voice, language and speed; af_heart at its own speed by default.
            **kwargs: Passed to Pipecat's `TTSService`.

        Raises:
            KokoroError: Unknown voice, or a language other than English.
        """
        defaults = self.Settings(model="kokoro-82m", voice="af_heart", language="en", speed=1.0)
        if settings is not None:
            defaults.apply_update(settings)
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            push_text_frames=False,
            stop_frame_timeout_s=_SILENCE_TIMEOUT_S,
            settings=defaults,
            **kwargs,
        )
        # Pipecat has no argument for it.
        self._text_aggregator = self.aggregator()
        self._kokoro = kokoro
        self._replies: dict[str, Reply] = {}
        self._head_start: HeadStart | None = None
        self._check(self._settings)

    @staticmethod
    def aggregator() -> FirstClauseAggregator:
        """Make what cuts an answer into the texts that `run_tts` gets.

        "Well," is a beginning for this voice, which needs no context to say it well.
        """
        return FirstClauseAggregator(least_words=1, most_words=None, language="en")

    def can_generate_metrics(self) -> bool:
        """Report that metrics are generated."""
        return True

    def language_to_service_language(self, language: Language) -> str:
        """Reduce English to the accents there are: ``en-us``, ``en-gb`` or ``en``."""
        if language in {Language.EN_US, Language.EN_GB}:
            return language.value.lower()
        return "en" if _is_english(language) else language.value

    async def prepare(self, sentence: str) -> None:
        """Begin to speak what may be wanted soon; `run_tts` of the same text then starts at once.

        What was prepared before is dropped, and this is when the caller speaks on.

        Args:
            sentence: As the language model wrote it.
        """
        await self._drop_head_start()
        text = await self._transform_text(sentence.lstrip("\n"), TextType.SENTENCE)
        if text is None:
            return
        wanted = self._wanted(text)
        pieces = self._kokoro.stream(*wanted)
        self._head_start = HeadStart(wanted, pieces, self.create_task(anext(pieces, None)))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop what was prepared when its turn is withdrawn; the rest is the base class's."""
        await super().process_frame(frame, direction)
        if isinstance(frame, EagerEndOfTurnCancelFrame | InterruptionFrame):
            await self._drop_head_start()

    async def cleanup(self) -> None:
        """Drop what was prepared; a second time does nothing."""
        await self._drop_head_start()
        await super().cleanup()

    async def _drop_head_start(self) -> None:
        head_start, self._head_start = self._head_start, None
        if head_start is not None:
            await self.cancel_task(head_start.first)
            await head_start.pieces.aclose()

    def _wanted(self, text: str) -> Wanted:
        voice = require_given(self._settings.voice, "Kokoro voice")
        speed = require_given(self._settings.speed, "Kokoro speed")
        return text, str(voice), speed, self._accent()

    async def _speech(self, text: str) -> AsyncGenerator[Speech]:
        wanted, head_start = self._wanted(text), self._head_start
        if head_start is None or head_start.wanted != wanted:
            await self._drop_head_start()
            async for speech in self._kokoro.stream(*wanted):
                yield speech
            return
        self._head_start = None
        first = await head_start.first
        if first is not None:
            yield first
        async for speech in head_start.pieces:
            yield speech

    async def _update_settings(self, delta: TTSSettings) -> dict[str, Any]:
        try:
            self._check(delta)
        except KokoroError as error:
            await self.push_error(f"{error} The voice stays as it was.")
            return {}
        return await super()._update_settings(delta)

    def _check(self, settings: TTSSettings) -> None:
        if is_given(settings.voice):
            self._kokoro.check_voice(str(settings.voice))
        if is_given(settings.language) and not _is_english(settings.language):
            raise KokoroError(
                f"The embedded voice speaks English only, not '{settings.language}'; choose "
                "language en, en-US or en-GB."
            )

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Forget the reply; what was being made for it has been cancelled with it."""
        self._replies.pop(context_id, None)

    async def on_audio_context_completed(self, context_id: str) -> None:
        """Forget the reply."""
        self._replies.pop(context_id, None)

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speak a text.

        Args:
            text: What to say, after text transforms.
            context_id: The reply it belongs to.

        Yields:
            Audio at the pipeline's rate in frames of 80 ms, or an `ErrorFrame`.
        """
        await self.start_tts_usage_metrics(text)
        reply = self._replies.setdefault(context_id, Reply())
        silent = True
        try:
            async for speech in self._speech(text):
                if not len(speech.audio):
                    continue
                silent = False
                pcm = await asyncio.to_thread(_pcm, speech.audio, self.sample_rate)
                await self._announce_words(speech, reply, context_id)
                for frame in self._frames(pcm, context_id):
                    yield frame
        except KokoroError as error:
            yield ErrorFrame(error=str(error))
        except Exception as error:  # one bad text must not hold up the replies behind it
            yield ErrorFrame(
                error=f"The voice failed on a piece of text: {error!r}", exception=error
            )
        if silent:
            # Pipecat takes a reply without audio for a fault, and one whose last sentence has
            # none as still going on.
            nothing = b"\0\0" * int(_NOTHING_SAID_S * self.sample_rate)
            for frame in self._frames(nothing, context_id):
                yield frame

    def _accent(self) -> Accent | None:
        accents: dict[str, Accent] = {"en-us": "american", "en-gb": "british"}
        return accents.get(str(self._settings.language).lower())

    async def _announce_words(self, speech: Speech, reply: Reply, context_id: str) -> None:
        begins_s = reply.next_begins_s()
        reply.spoken_s = begins_s + speech.duration_s
        words = list(speech.words)
        # Pipecat counts letters and digits: what follows the last of them it has taken as spoken
        # already, and would take for the start of the next sentence.
        while len(words) > 1 and not any(character.isalnum() for character in words[-1][0]):
            words.pop()
        await self.add_word_timestamps(
            [(word, begins_s + start_s) for word, start_s in words], context_id
        )

    def _frames(self, pcm: bytes, context_id: str):
        size = int(_FRAME_S * self.sample_rate) * 2
        for begin in range(0, len(pcm), size):
            yield TTSAudioRawFrame(
                pcm[begin : begin + size], self.sample_rate, 1, context_id=context_id
            )


def _is_english(language: object) -> bool:
    return str(language).lower().split("-")[0] == "en"


def _pcm(audio: NDArray[np.float32], rate_hz: int) -> bytes:
    """Bring 24 kHz float audio to 16 bit at another rate. A piece begins and ends in silence, so
    it can be resampled alone."""
    if rate_hz != SAMPLE_RATE_HZ:
        audio = soxr.resample(audio, SAMPLE_RATE_HZ, rate_hz)
    return (np.clip(audio, -1.0, 1.0) * 32767).astype("<i2").tobytes()
