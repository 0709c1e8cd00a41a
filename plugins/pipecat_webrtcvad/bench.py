"""Print what each analyzer costs, next to Pipecat's Silero, on this machine.

    python bench.py speech.wav

CPU milliseconds for one second of audio, and how often the hybrid asked Silero about it.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer

from pipecat_webrtcvad import HybridVADAnalyzer, WebRTCVADAnalyzer

SECONDS = 10
ROUNDS = 3
ANALYZERS: dict[str, Callable[[], VADAnalyzer]] = {
    "silero": SileroVADAnalyzer,
    "webrtc": WebRTCVADAnalyzer,
    "hybrid": HybridVADAnalyzer,
}


def signals(recording: Path, rate_hz: int) -> dict[str, np.ndarray]:
    """Ten seconds of each kind of sound, float samples in [-1, 1]."""
    speech, recorded_hz = soundfile.read(recording, dtype="float32", always_2d=True)
    speech = soxr.resample(speech.mean(axis=1), recorded_hz, rate_hz)
    samples = SECONDS * rate_hz
    white = np.random.default_rng(0).normal(0, 1, samples)
    return {
        "silence": np.zeros(samples),
        "room hiss, -66 dBFS": 0.0005 * white,
        "loud noise, -14 dBFS": 0.2 * white,
        "speech": np.resize(speech, samples),
    }


def cost_ms(analyzer: VADAnalyzer, pcm: bytes, rate_hz: int) -> float:
    """CPU milliseconds for a second of audio fed in 20 ms chunks, the best of a few rounds."""
    analyzer.set_sample_rate(rate_hz)
    size = rate_hz // 50 * 2
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for start in range(0, len(pcm), size):
            # Without the hop to the analyzer's thread, which is Pipecat's and the same for all.
            analyzer._run_analyzer(pcm[start : start + size])
        best = min(best, time.process_time() - began)
    return 1000 * best / SECONDS


def main() -> None:
    """Measure at 8, 16 and 48 kHz."""
    parser = argparse.ArgumentParser(description="Print what each analyzer costs.")
    parser.add_argument("speech", type=Path, help="a recording of speech without long pauses")
    recording = parser.parse_args().speech
    logger.remove()

    print(f"{'':28}" + "".join(f"{name:>9}" for name in ANALYZERS) + "   Silero asked")
    for rate_hz in (8000, 16000, 48000):
        for name, samples in signals(recording, rate_hz).items():
            pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
            row, asked = f"{rate_hz:5} Hz {name:19}", 0.0
            for make in ANALYZERS.values():
                analyzer = make()
                if isinstance(analyzer, SileroVADAnalyzer) and rate_hz > 16000:
                    row += f"{'-':>9}"
                    continue
                row += f"{cost_ms(analyzer, pcm, rate_hz):9.2f}"
                if isinstance(analyzer, HybridVADAnalyzer):
                    asked = analyzer.confirmations / ROUNDS / (SECONDS / 0.032)
            print(f"{row}{asked:13.0%}")


if __name__ == "__main__":
    main()
