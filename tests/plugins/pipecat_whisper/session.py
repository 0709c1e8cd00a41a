"""One caller's pipeline around the service under test."""

import asyncio
from collections.abc import Callable
from typing import Self, TypeVar

import numpy as np
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner
from pipecat_whisper import WhisperSTTService

PATIENCE_S = 60
T = TypeVar("T", bound=Frame)


class Collector(FrameProcessor):
    """Keeps what passes in one direction."""

    def __init__(self, direction: FrameDirection) -> None:
        super().__init__()
        self._direction = direction
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction == self._direction:
            self.frames.append(frame)
        await self.push_frame(frame, direction)


class Session:
    """Runs the service between two collectors; leaving the block ends the pipeline gracefully."""

    def __init__(self, service: WhisperSTTService, rate_hz: int = 16_000) -> None:
        self._rate_hz = rate_hz
        self._up = Collector(FrameDirection.UPSTREAM)
        self._down = Collector(FrameDirection.DOWNSTREAM)
        self._worker = PipelineWorker(
            Pipeline([self._up, service, self._down]),
            params=PipelineParams(
                audio_in_sample_rate=rate_hz, enable_metrics=True, enable_usage_metrics=True
            ),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
        )

    async def __aenter__(self) -> Self:
        started = asyncio.Event()
        self._worker.add_event_handler("on_pipeline_started", lambda *_: started.set())
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self._worker)
        self._running = asyncio.create_task(runner.run())
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.send(EndFrame())
        await asyncio.wait_for(self._running, PATIENCE_S)

    async def send(self, frame: Frame) -> None:
        await self._worker.queue_frame(frame)

    async def play(self, samples: np.ndarray, channels: int = 1) -> None:
        """Sends float32 [samples] as frames of 20 ms, without waiting in between."""
        pcm = np.repeat((samples * 32767).astype(np.int16), channels)
        chunk = self._rate_hz // 50 * channels
        for begin in range(0, len(pcm), chunk):
            audio = pcm[begin : begin + chunk].tobytes()
            await self.send(InputAudioRawFrame(audio, self._rate_hz, channels))

    async def say(self, samples: np.ndarray, channels: int = 1) -> None:
        """Plays speech between the frames of a VAD, which knows of it 0.3 s late."""
        late = int(0.3 * self._rate_hz)
        await self.play(samples[:late], channels)
        await self.send(VADUserStartedSpeakingFrame(start_secs=0.2))
        await self.play(samples[late:], channels)
        await self.play(np.zeros(self._rate_hz // 5, np.float32), channels)
        await self.send(VADUserStoppedSpeakingFrame(stop_secs=0.2))

    def heard(self, kind: type[T]) -> list[T]:
        return [frame for frame in self._down.frames if isinstance(frame, kind)]

    @property
    def finals(self) -> list[TranscriptionFrame]:
        return self.heard(TranscriptionFrame)

    @property
    def errors(self) -> list[str]:
        return [frame.error for frame in self._up.frames if isinstance(frame, ErrorFrame)]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event to offer
                await asyncio.sleep(0.005)
