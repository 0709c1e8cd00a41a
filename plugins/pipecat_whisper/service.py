"""A Pipecat speech-to-text service that shows captions while people speak."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    StartFrame,
    STTMuteFrame,
    TranscriptionFrame,
    UserAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.tracing.service_decorators import traced_stt
from pipecat.utils.types import assert_given

from pipecat_whisper.audio import Mono16k
from pipecat_whisper.engine import WhisperEngine
from pipecat_whisper.frames import NothingSaidFrame
from pipecat_whisper.listener import Caption, Listener, Options
from pipecat_whisper.segment import PreRoll, Segment
from pipecat_whisper.settings import WhisperSTTSettings, find_problem
from pipecat_whisper.transcript import Transcript

_PRE_ROLL_S = 4.0
_MAX_BEHIND = 8
# Whisper's codes, where they are not the language's own.
_WHISPER_CODES = {"nb": "no", "jv": "jw", "fil": "tl"}


class WhisperSTTService(STTService):
    """Transcribes speech that a VAD delimits, and shows interim transcripts while it goes on.

    The VAD's frames may come from a processor before this one or, upstream, from the user
    aggregator. While somebody speaks, the segment so far is decoded again and again, and the
    words on which two decodes agree are pushed as `InterimTranscriptionFrame`. When the VAD
    stops, the segment becomes one `TranscriptionFrame`, or a `NothingSaidFrame` when nobody spoke
    or recognition failed: Pipecat then ends the turn by its own timeout. Frames come in the order
    of the speech: interims of a segment before its final, and nothing of the next segment before
    that.

    One task follows the segments one after another, so a segment's interims cannot arrive late.
    """

    Settings = WhisperSTTSettings
    # Pipecat's way to have the settings typed; its own services redeclare them, too.
    _settings: WhisperSTTSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        engine: WhisperEngine,
        *,
        settings: WhisperSTTSettings | None = None,
        ttfs_p99_latency: float = 1.0,
        **kwargs,
    ) -> None:
        """Makes a session's service around the shared engine.

        Args:
            engine: The loaded model, which other sessions may use at the same time.
            settings: What differs from the defaults: English, an interim every 0.6 s, eager
                finals, segments of at most 28 s, no prompt, no hotwords.
            ttfs_p99_latency: How long after the end of speech a final arrives at the latest, in
                seconds; turn strategies wait for so long when a final does not come.
            **kwargs: Passed on to `STTService`.

        Raises:
            ValueError: The model does not know the language, or a setting is out of range.
        """
        complete = self.Settings(
            model=engine.name,
            language=Language.EN,
            initial_prompt=None,
            hotwords=None,
            no_speech_prob=0.6,
            min_avg_logprob=-1.0,
            interim_interval_s=0.6,
            eager_final=True,
            max_segment_s=28.0,
        )
        if settings is not None:
            complete.apply_update(settings)
        super().__init__(settings=complete, ttfs_p99_latency=ttfs_p99_latency, **kwargs)
        self._engine = engine
        if problem := find_problem(self._settings, self._engine):
            raise ValueError(problem)
        self._mono = Mono16k()
        self._pre_roll = PreRoll(_PRE_ROLL_S)
        self._segment: Segment | None = None
        self._segments: asyncio.Queue[Segment | None] = asyncio.Queue(_MAX_BEHIND)
        self._unfinished = 0
        self._follower: asyncio.Task | None = None

    def can_generate_metrics(self) -> bool:
        """TTFB and usage."""
        return True

    def language_to_service_language(self, language: Language) -> str | None:
        """Whisper's code: it knows languages, not their regions."""
        code = language.value.split("-")[0]
        return _WHISPER_CODES.get(code, code)

    async def start(self, frame: StartFrame) -> None:
        """Starts following segments."""
        await super().start(frame)
        self._follower = self.create_task(self._follow_segments(), "segments")

    async def stop(self, frame: EndFrame) -> None:
        """Transcribes what was said until now, then stops."""
        self._close_segment()
        if self._follower is not None:
            await self._segments.put(None)
            await self._follower
            self._follower = None
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stops at once; what was not transcribed is dropped."""
        await self._drop_everything()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Ends the task and forgets the sound; a second time does nothing."""
        await self._drop_everything()
        await super().cleanup()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Follows the VAD; everything else is the base class's."""
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStartedSpeakingFrame):
            if self._segment is None:
                await self._open_segment(self._pre_roll.take_opening())
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            if self._segment is None:
                # There was no room for it: of what was said before, nothing else may be owed.
                await self.push_frame(NothingSaidFrame(finalized=self._unfinished == 0))
            # Some of the silence that the VAD heard has not come out of the resampler yet.
            self._close_segment(max(0.0, frame.stop_secs - self._mono.held_back_s))
        elif isinstance(frame, STTMuteFrame) and frame.mute:
            # An open segment goes on without sound; the next one must not begin in the past.
            self._pre_roll.take()

    async def process_audio_frame(
        self, frame: InputAudioRawFrame, direction: FrameDirection
    ) -> None:
        """Adds the frame to the open segment, or to the pre-roll of the next one."""
        if self._muted or not self.is_usable:
            return
        self._user_id = frame.user_id if isinstance(frame, UserAudioRawFrame) else ""
        samples = self._mono.convert(frame)
        if self._segment is None:
            self._pre_roll.append(samples)
            return
        self._segment.append(samples)
        if self._segment.duration_s >= assert_given(self._settings.max_segment_s):
            await self._open_segment(self._segment.cut())

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Transcribes one piece of audio on its own.

        Args:
            audio: 16-bit mono PCM at the service's sample rate.

        Yields:
            A `TranscriptionFrame`, or nothing when nobody speaks in it.
        """
        frame = InputAudioRawFrame(audio=audio, sample_rate=self.sample_rate, num_channels=1)
        segment = Segment(Mono16k().convert(frame), user_id=self._user_id, notice_pauses=False)
        segment.close()
        transcript = await Listener(self._engine, segment, self._options).final()
        if transcript is not None:
            yield self._final(transcript, self._user_id, finalized=True)

    async def _update_settings(self, delta: STTSettings) -> dict[str, Any]:
        changed = await super()._update_settings(delta)
        if problem := find_problem(self._settings, self._engine):
            # A session goes on with what it had.
            self._settings.apply_update(self.Settings(**changed))
            self._sync_model_name_to_metrics()
            await self.push_error(problem, category=ErrorCategory.UNKNOWN)
            return {}
        return changed

    async def _open_segment(self, opening: np.ndarray) -> None:
        self._segment = None
        if self._segments.full():
            await self.push_error(
                "Speech recognition is too slow for this conversation; a sentence was lost.",
                category=ErrorCategory.UNKNOWN,
            )
            return
        self._segment = Segment(
            opening,
            user_id=self._user_id,
            notice_pauses=bool(assert_given(self._settings.eager_final)),
        )
        self._segments.put_nowait(self._segment)
        self._unfinished += 1

    def _close_segment(self, silence_s: float = 0.0) -> None:
        if self._segment is not None:
            self._segment.close(silence_s)
            self._segment = None

    async def _drop_everything(self) -> None:
        if self._follower is not None:
            await self.cancel_task(self._follower)
            self._follower = None
        self._segment = None
        self._segments = asyncio.Queue(_MAX_BEHIND)
        self._unfinished = 0
        self._pre_roll.take()

    async def _follow_segments(self) -> None:
        while (segment := await self._segments.get()) is not None:
            try:
                await self._follow(segment)
            except Exception as error:
                # Whatever it is, the next segment may well work, and a session without this task
                # would be deaf: hence every error, in a category that ends nothing.
                await self.push_error(str(error), error, category=ErrorCategory.UNKNOWN)
                await self.push_frame(NothingSaidFrame(finalized=self._is_last))
            finally:
                self._unfinished -= 1

    async def _follow(self, segment: Segment) -> None:
        listener = Listener(self._engine, segment, self._options)
        while (caption := await listener.caption()) is not None:
            await self._push_interim(caption, segment.user_id)
        transcript = await listener.final()
        self._stt_usage_pending_seconds += segment.duration_s
        # Before the transcript, because tracing closes its span there.
        await self.emit_stt_usage_metrics()
        if transcript is not None:
            await self._push_final(transcript, segment.user_id)
        else:
            await self.push_frame(NothingSaidFrame(finalized=self._is_last))

    async def _push_interim(self, caption: Caption, user_id: str) -> None:
        language = _language(caption.transcript)
        await self._handle_transcription(caption.text, False, language)
        await self.push_frame(
            InterimTranscriptionFrame(
                caption.text, user_id, time_now_iso8601(), language, caption.transcript
            )
        )

    async def _push_final(self, transcript: Transcript, user_id: str) -> None:
        frame = self._final(transcript, user_id, finalized=self._is_last)
        await self._handle_transcription(transcript.text, True, frame.language)
        await self.push_frame(frame)

    @property
    def _is_last(self) -> bool:
        # "Finalized" promises that nothing more is to come, so not while someone speaks on.
        return self._unfinished == 1

    @traced_stt
    async def _handle_transcription(
        self, transcript: str, is_final: bool, language: Language | None = None
    ) -> None:
        """Where Pipecat's tracing looks on."""

    def _final(self, transcript: Transcript, user_id: str, finalized: bool) -> TranscriptionFrame:
        return TranscriptionFrame(
            transcript.text,
            user_id,
            time_now_iso8601(),
            _language(transcript),
            transcript,
            finalized=finalized,
        )

    def _options(self) -> Options:
        settings = self._settings
        return Options(
            language=assert_given(settings.language),
            prompt=assert_given(settings.initial_prompt),
            hotwords=assert_given(settings.hotwords),
            no_speech_prob=assert_given(settings.no_speech_prob),
            min_avg_logprob=assert_given(settings.min_avg_logprob),
            interim_interval_s=assert_given(settings.interim_interval_s),
        )


def _language(transcript: Transcript) -> Language | None:
    try:
        return Language(transcript.language)
    except ValueError:
        return None
