"""CSM as a Pipecat voice: every reply is conditioned on how both speakers sounded."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from loguru import logger
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import (
    ControlFrame,
    ErrorFrame,
    Frame,
    MetricsFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.utils.text.base_text_aggregator import BaseTextAggregator
from pipecat.utils.tracing.service_decorators import traced_tts
from pipecat.utils.types import assert_given

from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.speech import Frame as SpeechFrame
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import CSMError, EngineClosedError, OptionError, TextError
from pipecat_csm.model.config import FRAME_HZ, SAMPLE_RATE_HZ
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.first_clause import FirstClauseAggregator
from pipecat_csm.services.metrics import ReplyMeter
from pipecat_csm.services.settings import CSMTTSSettings, Voices
from pipecat_csm.services.spoken import words_awaited
from pipecat_csm.services.word_times import Voice, WordTimes
from pipecat_csm.text import normalise, split

# What a reply waits for the caller's Segment. It is there within tens of milliseconds, or not at
# all.
_CALLER_S = 1.0
# Pipecat closes a reply that has had no audio for this long; a CPU may take its time.
_SILENCE_TIMEOUT_S = 60.0
_NOTHING_SAID_S = 0.1
# A device that makes nothing for so long, though there is room for it, hangs. A CPU that has to
# read a whole context anew takes six.
_HANGS_S = 20.0
_HANGS = (
    f"CSM has made no sound for {_HANGS_S:.0f} s: its device hangs, or has too much else to do."
)
_STOPPED = (
    "CSM's engine has stopped: load the model again and give this service its engine with "
    "recover(), or have another voice speak."
)

# Of these a change is taken up; Pipecat itself sees to the language.
_CHANGEABLE = {"voice", "temperature", "top_k", "seed", "language"}


@dataclass
class _BreaksOff(ControlFrame):
    """Goes behind a text of which no more words are spoken."""


class CSMTTSService(TTSService):
    """Speaks with a shared CSM engine, sentence by sentence, in one session per conversation.

    Event handlers available, beside Pipecat's own:

    - on_unspoken: Called with a text, or the rest of one, that could not be spoken because the
      engine failed, for another voice to speak. Where one is at hand see `speaks` and `recover`.
    """

    Settings = CSMTTSSettings
    _settings: CSMTTSSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        conversation: CSMConversation,
        voices: Voices,
        settings: CSMTTSSettings | None = None,
        text_aggregator: BaseTextAggregator | None = None,
        **kwargs: Any,
    ) -> None:
        """Makes the service of one conversation; it takes its slot in `setup`.

        Args:
            conversation: Which the taps share.
            voices: By name, the reference Segments of each: recordings of the voice, with their
                words. Of one without any, CSM invents the voice.
            settings: The first voice, Sesame's sampling and a seed of 0 by default.
            text_aggregator: Cuts a reply into the texts that `run_tts` gets; by default its first
                clause, then its sentences.
            **kwargs: Passed to Pipecat's `TTSService`.

        Raises:
            ValueError: There is no voice, or none of that name, or a number makes no sense.
        """
        if not voices:
            raise ValueError("CSMTTSService needs a voice; one without references is enough.")
        defaults = self.Settings(
            model="csm-1b",
            voice=next(iter(voices)),
            language=None,
            temperature=0.9,
            top_k=50,
            seed=0,
        )
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
        self._text_aggregator = text_aggregator or FirstClauseAggregator()
        # It always does, and where it is not asked to speak at all Pipecat would wait for more.
        self._is_yielding_frames_synchronously = True
        # A voice that is deleted while it is in use goes on.
        self._conversation, self._voices = conversation, dict(voices)
        defaults.check(defaults, voices)
        self._register_event_handler("on_unspoken", sync=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="csm-reply")
        self._pcm_resampler = create_stream_resampler()
        self._manner: Voice | None = None  # how it speaks, learned from sentence to sentence
        self._meters: dict[str, ReplyMeter] = {}

    def can_generate_metrics(self) -> bool:
        """Reports that metrics are generated."""
        return True

    @property
    def speaks(self) -> bool:
        """Whether it can be given work: its engine serves, and has a slot for it."""
        return self.is_usable and self._conversation.alive

    async def recover(self, engine: Engine | None = None) -> bool:
        """Tries to speak again after a failure, and says whether it can.

        Args:
            engine: Another one, if the first has stopped for good. It reads all of the history.
        """
        if engine is not None:
            self._conversation.use(engine)
        try:
            await self._open()
        except CSMError as error:
            logger.debug(f"{self}: it cannot speak yet: {error}")
            return False
        await self.set_usable(True)
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Takes a slot of the engine, and has it read the voice."""
        await super().setup(setup)
        await self._open_or_report()

    async def cleanup(self) -> None:
        """Gives the slot back; a second time does nothing."""
        await super().cleanup()
        await self._conversation.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speaks a text.

        Args:
            text: What to say, after text transforms.
            context_id: The reply it belongs to.

        Yields:
            Sound at the pipeline's rate in frames of 80 ms, or an `ErrorFrame`.
        """
        await self.start_tts_usage_metrics(text)
        if not await self._conversation.caller.settled(_CALLER_S):
            logger.warning(f"{self}: the reply does not wait longer for how the caller sounded.")
        spoken, pieces = False, list[str]()
        try:
            pieces = _pieces(text)
            while pieces:
                async for frame in self._speak(pieces[0], context_id):
                    spoken = True
                    yield frame
                del pieces[0]
        except TextError as error:
            yield ErrorFrame(error=str(error), exception=error)
        except _CutShort as cut:
            if isinstance(cut.error, EngineClosedError):
                await self.push_error(_STOPPED, exception=cut.error, force_treat_as_permanent=True)
            else:
                yield ErrorFrame(error=str(cut), exception=cut.error)
            yield _BreaksOff()
            rest = " ".join([cut.rest, *pieces[1:]]).strip()
            await self._call_event_handler("on_unspoken", rest)
        if not spoken:
            if context_id not in self._meters:  # what was said before has been measured
                await self.cancel_ttfb_metrics()
            # Pipecat takes a reply without audio for a fault.
            nothing = b"\0\0" * int(_NOTHING_SAID_S * self.sample_rate)
            yield TTSAudioRawFrame(nothing, self.sample_rate, 1, context_id=context_id)

    async def _synthesize_text(self, text: str, context_id: str) -> None:
        if not self.is_usable:  # Pipecat will not ask `run_tts`
            await self.append_to_audio_context(context_id, _BreaksOff())
            await self._call_event_handler("on_unspoken", text)
        await super()._synthesize_text(text, context_id)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Sees to it that words which were not spoken are not reported as spoken."""
        if not isinstance(frame, _BreaksOff):
            await super().push_frame(frame, direction)
            return
        # Pipecat adds the words that have no times when the reply ends.
        for skipped in self._aggregated_frame_sequencer.complete_spoken_slot():
            await super().push_frame(skipped)

    async def _speak(self, text: str, context_id: str) -> AsyncGenerator[Frame]:
        meter = self._meters.get(context_id) or ReplyMeter(self._conversation.playout, context_id)
        meter.asked()
        try:
            speech, begins_s = await self._conversation.speak(text, context_id)
        except Exception as error:
            raise _CutShort(error, text) from error
        meter.began(self._conversation.positions)
        # What Pipecat does not wait for it would take for the start of the next sentence.
        words, awaited, taken = WordTimes(text, self._manner), words_awaited(text), 0
        try:
            while (frame := await self._taken(speech)) is not None:
                taken += 1
                meter.made(1 / FRAME_HZ, goes_on=speech.has_room(0))
                self._meters[context_id] = meter
                room = max(0, awaited - words.announced)
                await self._announce(words.feed(frame.audio)[:room], begins_s, context_id)
                pcm = (np.clip(frame.audio, -1.0, 1.0) * 32767).astype("<i2").tobytes()
                if self.sample_rate != SAMPLE_RATE_HZ:
                    pcm = await self._pcm_resampler.resample(pcm, SAMPLE_RATE_HZ, self.sample_rate)
                if pcm:
                    yield TTSAudioRawFrame(pcm, self.sample_rate, 1, context_id=context_id)
            if speech.ending == "cancelled" and not speech.cancelled:
                raise EngineClosedError("The engine has stopped in the middle of a reply.")
            await self._announce(words.finish()[words.announced : awaited], begins_s, context_id)
            self._manner = words.voice
            if speech.runaway is not None:
                logger.warning(f"{self}: CSM ran away on {text[:40]!r}: {speech.runaway}; cut off.")
        except Exception as error:
            said = words.words_until(taken / FRAME_HZ).split()
            late = [(word, taken / FRAME_HZ) for word in said[words.announced : awaited]]
            await self._announce(late, begins_s, context_id)
            begun = max(words.announced, len(said))
            raise _CutShort(error, " ".join(text.split()[begun:])) from error
        finally:
            self._conversation.spoken(context_id, text, speech, taken, words.words_until)
            # Where Pipecat's decorator keeps its open spans, if it traces.
            meter.describe(getattr(self, "_tts_spans", {}))

    async def _taken(self, speech: Speech) -> SpeechFrame | None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await loop.run_in_executor(self._thread, speech.take, _HANGS_S)
            except TimeoutError:
                if speech.has_room(0):
                    raise CSMError(_HANGS) from None

    async def _announce(
        self, words: Sequence[tuple[str, float]], begins_s: float, context_id: str
    ) -> None:
        if words:
            times = [(word, begins_s + start_s) for word, start_s in words]
            await self.add_word_timestamps(times, context_id)

    async def on_audio_context_completed(self, context_id: str) -> None:
        """Reports how the reply was made."""
        await self._report(context_id, interrupted=False)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Reports how the reply was made until then."""
        await self._report(context_id, interrupted=True)

    async def _report(self, context_id: str, *, interrupted: bool) -> None:
        meter = self._meters.pop(context_id, None)
        if meter is not None and self.metrics_enabled:
            model = str(assert_given(self._settings.model))
            data = meter.data(self.name, model, interrupted=interrupted)
            await self.push_frame(MetricsFrame(data=[data]))

    async def _update_settings(self, delta: TTSSettings) -> dict[str, Any]:
        try:
            self._settings.check(delta, self._voices)
        except OptionError as error:
            await self.push_error(f"{error} All settings stay as they were.", exception=error)
            return {}
        changed = await super()._update_settings(delta)
        self._warn_unhandled_updated_settings(changed.keys() - _CHANGEABLE)
        if "voice" in changed:
            try:
                await self._open()
            except CSMError as error:
                self._settings.voice = changed.pop("voice")
                await self.push_error(f"{error} The voice stays as it was.", exception=error)
        if changed and self._conversation.alive:
            self._conversation.resample(self._settings.sampling())
        elif not self._conversation.alive:
            await self._open_or_report()
        return changed

    async def _open(self) -> None:
        references = self._voices[str(assert_given(self._settings.voice))]
        await self._conversation.open(references, self._settings.sampling())

    async def _open_or_report(self) -> None:
        try:
            await self._open()
        except CSMError as error:
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)


class _CutShort(Exception):
    """A piece of text that was not spoken to its end."""

    def __init__(self, error: Exception, rest: str) -> None:
        unknown = f"The voice failed on a piece of text, and goes on with the next: {error!r}"
        super().__init__(str(error) if isinstance(error, CSMError) else unknown)
        self.error, self.rest = error, rest


def _pieces(text: str) -> list[str]:
    """What can be spoken of a text, a Segment each; nothing of emoji alone."""
    return split(normalise(text)) if any(map(str.isalnum, text)) else []
