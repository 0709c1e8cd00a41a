"""Print when somebody speaks in a recording, as a Pipecat VAD analyzer hears it.

Needs no account and no microphone:

    python example.py recording.wav
    python example.py recording.wav --analyzer webrtc --stop-secs 0.5
"""

import argparse
import asyncio
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from loguru import logger
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState

from pipecat_webrtcvad import HybridVADAnalyzer, WebRTCVADAnalyzer

ANALYZERS = {"hybrid": HybridVADAnalyzer, "webrtc": WebRTCVADAnalyzer}
LEGAL_RATES_HZ = (8000, 16000, 32000, 48000)


def read_mono(path: Path) -> tuple[bytes, int]:
    """Read a recording as 16-bit mono PCM, at its own rate where the analyzers take it."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate_hz not in LEGAL_RATES_HZ:
        mono, rate_hz = soxr.resample(mono, rate_hz, 16000), 16000
    return (np.clip(mono, -1, 1) * 32767).astype(np.int16).tobytes(), rate_hz


async def print_speech(analyzer: VADAnalyzer, pcm: bytes, rate_hz: int) -> None:
    """Feed the recording in 20 ms chunks, as a transport would, and print each change."""
    analyzer.set_sample_rate(rate_hz)
    before = VADState.QUIET
    chunk_bytes = rate_hz // 50 * 2
    for end in range(chunk_bytes, len(pcm) + 1, chunk_bytes):
        state = await analyzer.analyze_audio(pcm[end - chunk_bytes : end])
        if state in (VADState.SPEAKING, VADState.QUIET) and state != before:
            print(f"{end / 2 / rate_hz:7.2f} s  {state.name.lower()}")
            before = state
    if before == VADState.SPEAKING:
        print(f"{len(pcm) / 2 / rate_hz:7.2f} s  the recording ends in speech")
    await analyzer.cleanup()


def main() -> None:
    """Read the command line and print the speech in one recording."""
    parser = argparse.ArgumentParser(description="Print when somebody speaks in a recording.")
    parser.add_argument("recording", type=Path, help="a WAV, FLAC or OGG file")
    parser.add_argument("--analyzer", choices=ANALYZERS, default="hybrid")
    parser.add_argument("--start-secs", type=float, default=0.2, help="speech needed to start")
    parser.add_argument("--stop-secs", type=float, default=0.2, help="quiet needed to stop")
    args = parser.parse_args()

    logger.remove()
    try:
        pcm, rate_hz = read_mono(args.recording)
    except (OSError, soundfile.LibsndfileError) as error:
        sys.exit(f"{args.recording} cannot be read as sound; give a WAV, FLAC or OGG file: {error}")
    params = VADParams(start_secs=args.start_secs, stop_secs=args.stop_secs, min_volume=0.0)
    analyzer = ANALYZERS[args.analyzer](params=params)
    asyncio.run(print_speech(analyzer, pcm, rate_hz))
    if isinstance(analyzer, HybridVADAnalyzer):
        windows = len(pcm) / 2 / rate_hz / 0.032
        print(f"Silero was asked about {analyzer.confirmations} of {windows:.0f} windows.")


if __name__ == "__main__":
    main()
