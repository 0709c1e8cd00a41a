"""The harness's voice and ears, from the models that come with the agent: nothing is downloaded."""

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from pipecat.frames.frames import Frame, TTSAudioRawFrame
from pipecat.services.settings import TTSSettings
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.services.whisper.stt import WhisperSTTService

from agent.embedded.kokoro import Kokoro
from agent.embedded.kokoro_model import SAMPLE_RATE_HZ
from agent.models import resolve
from agent.voices.recording import resampled

Config = dict[str, Any]


class UserVoice(TTSService):
    """Kokoro without a pipeline: the harness's cache asks for sound, and for nothing else."""

    def __init__(self, voice: str) -> None:
        """Loads the model.

        Args:
            voice: Of Kokoro's.
        """
        super().__init__(settings=TTSSettings(model="kokoro-82m", voice=voice, language="en"))
        self._kokoro = Kokoro(resolve("kokoro-82m", "tts"))
        self._voice = voice

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speaks a text, in one frame."""
        spoken = (await self._kokoro.speak(text, self._voice)).audio
        samples = resampled(spoken, SAMPLE_RATE_HZ, self.sample_rate)
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        yield TTSAudioRawFrame(pcm, self.sample_rate, 1, context_id=context_id)

    async def cleanup(self) -> None:
        """Lets the model go."""
        self._kokoro.close()
        await super().cleanup()


def voice(config: Config) -> TTSService:
    """`user.speech.factory`: how the user sounds."""
    return UserVoice(str(config["voice"]))


def ears(config: Config) -> STTService:
    """`judge.transcription.factory`: what the agent is heard to say.

    Pipecat's own service, because the harness follows a barge-in segment by segment, which needs
    an STT that does; ours shows words while they are spoken. It hears nothing but speech.
    """
    settings = WhisperSTTService.Settings(
        model=str(resolve("tiny.en", "whisper")), no_speech_prob=1.0
    )
    return WhisperSTTService(device="cpu", compute_type="int8", settings=settings)
