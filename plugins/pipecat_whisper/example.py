"""Print what is said in a recording, while it is being said, as a Pipecat pipeline hears it.

Needs no account and no microphone, only the folder of a CTranslate2 Whisper model:

    python example.py recording.wav --model path/to/faster-whisper-tiny.en

The recording is played in real time through Pipecat's Silero VAD and the service.
"""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from pipecat_whisper import WhisperEngine, WhisperEngineError, WhisperSTTService

CHUNK_S = 0.02
QUIET_AFTER_S = 1.0


class Printer(FrameProcessor):
    """Prints transcripts with the time since the first audio frame."""

    def __init__(self) -> None:
        """Nothing was heard yet."""
        super().__init__()
        self._started = self._stopped = 0.0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Prints transcripts; passes everything on."""
        await super().process_frame(frame, direction)
        now = time.monotonic()
        if isinstance(frame, InputAudioRawFrame):
            self._started = self._started or now
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._stopped = now
        elif isinstance(frame, InterimTranscriptionFrame):
            print(f"{now - self._started:7.2f} s  ...  {frame.text}", flush=True)
        elif isinstance(frame, TranscriptionFrame):
            waited_ms = max(0.0, now - self._stopped) * 1000
            print(
                f"{now - self._started:7.2f} s  --> {frame.text}"
                f"  ({waited_ms:.0f} ms after the VAD heard silence)",
                flush=True,
            )
        await self.push_frame(frame, direction)


async def play(worker: PipelineWorker, pcm: np.ndarray, rate_hz: int) -> None:
    """Queues int16 [samples, channels] and a second of silence, at the speed of speech."""
    pcm = np.pad(pcm, ((0, int(QUIET_AFTER_S * rate_hz)), (0, 0)))
    chunk = int(CHUNK_S * rate_hz)
    started = time.monotonic()
    for begin in range(0, len(pcm), chunk):
        await asyncio.sleep(max(0.0, started + begin / rate_hz - time.monotonic()))
        frame = InputAudioRawFrame(pcm[begin : begin + chunk].tobytes(), rate_hz, pcm.shape[1])
        await worker.queue_frame(frame)
    await worker.queue_frame(EndFrame())


async def transcribe(engine: WhisperEngine, pcm: np.ndarray, rate_hz: int, interval_s: float):
    """Runs the pipeline over int16 [samples, channels]."""
    settings = WhisperSTTService.Settings(interim_interval_s=interval_s)
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(min_volume=0.0)))
    pipeline = Pipeline([vad, WhisperSTTService(engine, settings=settings), Printer()])
    worker = PipelineWorker(
        pipeline, params=PipelineParams(audio_in_sample_rate=rate_hz), enable_rtvi=False
    )
    started = asyncio.Event()
    worker.add_event_handler("on_pipeline_started", lambda *_: started.set())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await started.wait()
    await play(worker, pcm, rate_hz)
    await running


def main() -> None:
    """Reads the command line and prints the words of one recording."""
    parser = argparse.ArgumentParser(description="Print what is said in a recording, live.")
    parser.add_argument("recording", type=Path, help="a WAV, FLAC or OGG file, mono, 8 or 16 kHz")
    parser.add_argument("--model", type=Path, required=True, help="folder of a CTranslate2 model")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--interval", type=float, default=0.6, help="seconds between interims")
    args = parser.parse_args()

    logger.remove()
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        pcm, rate_hz = soundfile.read(args.recording, dtype="int16", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        sys.exit(f"{args.recording} cannot be read as sound; give a WAV, FLAC or OGG file: {error}")
    if rate_hz not in (8000, 16000) or pcm.shape[1] != 1:
        sys.exit("Silero, which delimits the speech here, hears mono at 8 or 16 kHz; convert it.")
    try:
        engine = WhisperEngine(args.model, device=args.device)
    except WhisperEngineError as error:
        sys.exit(str(error))
    engine.warm_up()
    asyncio.run(transcribe(engine, pcm, rate_hz, args.interval))
    engine.close()


if __name__ == "__main__":
    main()
