"""What is heard of one segment: captions while it grows, and its text once it is closed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loguru import logger

from pipecat_whisper.agreement import LocalAgreement
from pipecat_whisper.engine import EngineBusyError, WhisperEngine, WhisperEngineError
from pipecat_whisper.segment import Segment
from pipecat_whisper.transcript import Transcript

# Captions of long speech take longer to decode; this leaves the machine some time for others.
_REST_PER_DECODE = 2.0


@dataclass(frozen=True)
class Options:
    """What a session wants at this moment; `WhisperSTTSettings` explains each one.

    Attributes:
        language: Whisper's code, or None to detect it.
        prompt: `initial_prompt` there.
        hotwords: Words to expect.
        no_speech_prob: Above this, and with an unsure text, nobody spoke.
        min_avg_logprob: Below this a text is unsure.
        interim_interval_s: Seconds between two captions; 0 turns them off.
    """

    language: str | None
    prompt: str | None
    hotwords: str | None
    no_speech_prob: float
    min_avg_logprob: float
    interim_interval_s: float


@dataclass(frozen=True)
class Caption:
    """The beginning of a segment that is certain by now, and the decode that made it so."""

    text: str
    transcript: Transcript


@dataclass(frozen=True)
class _Hypothesis:
    """A decode of the first `samples` samples of a segment that was still open."""

    transcript: Transcript
    samples: int


class Listener:
    """Listens to one segment: ask for captions until there are no more, then for the final.

    The segment so far is decoded again and again, and the words on which two decodes agree are
    the caption. When the last of these decodes holds all of the speech, it is the final, too.
    """

    def __init__(
        self, engine: WhisperEngine, segment: Segment, options: Callable[[], Options]
    ) -> None:
        """Listens from the segment's beginning.

        Args:
            engine: Decodes.
            segment: What is said, open or closed already.
            options: Asked anew for each step, because a session may change its mind meanwhile.
        """
        self._engine = engine
        self._segment = segment
        self._options = options
        self._agreement = LocalAgreement()
        self._hypothesis: _Hypothesis | None = None
        self._rest_s = 0.0

    async def caption(self) -> Caption | None:
        """The next caption, which is longer than the one before; None when the segment closed."""
        while not self._segment.closed:
            interval_s = self._options().interim_interval_s
            await self._segment.wait(max(interval_s, self._rest_s) if interval_s else None)
            if self._segment.closed:
                break
            transcript = await self._guess()
            if transcript is None or not interval_s or self._segment.closed:
                continue
            if transcript.is_sound and self._is_speech(transcript):
                text = self._agreement.update(transcript.text)
                if text:
                    return Caption(text, transcript)
        return None

    async def final(self) -> Transcript | None:
        """What was said in the closed segment; None when nobody spoke.

        Raises:
            EngineBusyError: Too many wait for the engine.
            WhisperEngineError: The engine is closed, or the model failed.
        """
        hypothesis = self._hypothesis
        if (
            hypothesis is not None
            and hypothesis.transcript.is_sound
            and self._segment.is_covered_by(hypothesis.samples)
        ):
            transcript = hypothesis.transcript
        else:
            transcript = await self._engine.transcribe(
                self._segment.audio(), **self._decode_options()
            )
        if not self._is_speech(transcript):
            logger.debug(f"Nobody spoke in {self._segment.duration_s:.1f} s: {transcript}")
            return None
        return transcript

    async def _guess(self) -> Transcript | None:
        """Decodes what has been said so far, unless the engine has no time for it."""
        audio = self._segment.audio()
        try:
            transcript = await self._engine.transcribe(
                audio, **self._decode_options(), priority="interim"
            )
        except EngineBusyError:
            return None
        except WhisperEngineError as error:
            # A caption that failed costs nothing; the final tells whether the engine works.
            logger.warning(f"An interim decode failed: {error}")
            return None
        self._hypothesis = _Hypothesis(transcript, len(audio))
        self._rest_s = _REST_PER_DECODE * transcript.decode_s
        return transcript

    def _decode_options(self) -> dict[str, Any]:
        options = self._options()
        return {
            "language": options.language,
            "prompt": options.prompt,
            "hotwords": options.hotwords,
        }

    def _is_speech(self, transcript: Transcript) -> bool:
        options = self._options()
        return transcript.is_speech(
            no_speech_prob=options.no_speech_prob, min_avg_logprob=options.min_avg_logprob
        )
