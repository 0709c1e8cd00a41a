"""Streaming speech recognition for Pipecat with faster-whisper: captions while people speak."""

from pipecat_whisper.engine import EngineBusyError, WhisperEngine, WhisperEngineError
from pipecat_whisper.frames import NothingSaidFrame
from pipecat_whisper.service import WhisperSTTService
from pipecat_whisper.settings import WhisperSTTSettings
from pipecat_whisper.transcript import Transcript

__all__ = [
    "EngineBusyError",
    "NothingSaidFrame",
    "Transcript",
    "WhisperEngine",
    "WhisperEngineError",
    "WhisperSTTService",
    "WhisperSTTSettings",
]
