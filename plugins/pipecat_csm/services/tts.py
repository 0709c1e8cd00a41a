"""CSM as a Pipecat voice: every reply is conditioned on how both speakers sounded."""

from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
from loguru import logger
from numpy.typing import NDArray
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import (
    ControlFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
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
from pipecat_csm.errors import CSMError, EngineClosedError, OptionError, TextError
from pipecat_csm.model.config import SAMPLE_RATE_HZ
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.first_clause import FirstClauseAggregator
from pipecat_csm.services.listening_back import ListeningBack
from pipecat_csm.services.metrics import ReplyMeter
from pipecat_csm.services.sentence import CutShort, Sentence
from pipecat_csm.services.settings import CSMTTSSettings, Voices
from pipecat_csm.services.whisper_times import Listener
from pipecat_csm.services.word_times import Voice
from pipecat_csm.text import normalise, split

# What a reply waits for the caller's Segment. It is there within tens of milliseconds, or not at
# all.
_CALLER_S = 1.0
# Pipecat closes a reply that has had no audio for this long; a CPU may take its time.
_SILENCE_TIMEOUT_S = 60.0
_NOTHING_SAID_S = 0.1
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
        listener: Listener | None = None,
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
            listener: Listens to each finished sentence while it is played and corrects where its
                words are, such as `pipecat_whisper.WhisperEngine`: for weights that do not always
                say what they are given. Nobody by default: it costs as much as hearing the caller.
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
        self._listening_back = ListeningBack(listener) if listener is not None else None
        self._manner: Voice | None = None  # how it speaks, learned from sentence to sentence
        self._meters: dict[str, ReplyMeter] = {}
        self._announced_s: dict[str, float] = {}  # when the latest word of a reply is to be heard

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
        if self._listening_back is not None:
            await self._listening_back.close()
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
        except CutShort as cut:
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

    async def _handle_interruption(
        self, frame: InterruptionFrame, direction: FrameDirection
    ) -> None:
        self._conversation.interrupting()
        await super()._handle_interruption(frame, direction)

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
        sentence = Sentence(
            self._conversation,
            text,
            context_id,
            manner=self._manner,
            listening_back=self._listening_back,
        )
        try:
            async with aclosing(sentence.sounds(meter, self._thread)) as sounds:
                async for sound in sounds:
                    self._meters[context_id] = meter
                    await self._announce(sound.words, meter.late_s, context_id)
                    if pcm := await self._pcm(sound.audio):
                        yield TTSAudioRawFrame(pcm, self.sample_rate, 1, context_id=context_id)
            self._manner = sentence.manner
        except CutShort as cut:
            await self._announce(cut.late, meter.late_s, context_id)
            raise
        finally:
            # Where Pipecat's decorator keeps its open spans, if it traces.
            meter.describe(getattr(self, "_tts_spans", {}))

    async def _pcm(self, audio: NDArray[np.float32]) -> bytes:
        pcm = (np.clip(audio, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        if pcm and self.sample_rate != SAMPLE_RATE_HZ:
            pcm = await self._pcm_resampler.resample(pcm, SAMPLE_RATE_HZ, self.sample_rate)
        return pcm

    async def _announce(
        self, words: list[tuple[str, float]], late_s: float, context_id: str
    ) -> None:
        """Has Pipecat tell words when they are heard, which is later where the sound was late."""
        if not words:
            return
        times = [self._announced_s.get(context_id, 0.0)]
        for _, start_s in words:  # what was late may have caught up; no word overtakes another
            times.append(max(times[-1], start_s + late_s))
        self._announced_s[context_id] = times[-1]
        told = [(word, time_s) for (word, _), time_s in zip(words, times[1:], strict=True)]
        await self.add_word_timestamps(told, context_id)

    async def on_audio_context_completed(self, context_id: str) -> None:
        """Reports how the reply was made."""
        await self._report(context_id, interrupted=False)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Reports how the reply was made until then."""
        await self._report(context_id, interrupted=True)

    async def _report(self, context_id: str, *, interrupted: bool) -> None:
        self._announced_s.pop(context_id, None)
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
        try:
            await self._conversation.open(references, self._settings.sampling())
        except CSMError:
            raise
        except Exception as error:  # whatever it is, the call goes on
            raise CSMError(f"CSM could not be opened: {error!r}") from error

    async def _open_or_report(self) -> None:
        try:
            await self._open()
        except CSMError as error:
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)


def _pieces(text: str) -> list[str]:
    """What can be spoken of a text, a Segment each; nothing of emoji alone."""
    return split(normalise(text)) if any(map(str.isalnum, text)) else []
