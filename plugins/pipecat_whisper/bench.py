"""Word errors and time of short encoder windows next to Whisper's own 30 s, in one run.

    python bench.py clips.tsv --model path/to/faster-whisper-tiny.en

Each line of the list is the path of a recording, a tab, and the words that are spoken in it.
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr
from faster_whisper import WhisperModel

from pipecat_whisper.decoder import FULL_WINDOW_S, SAMPLE_RATE_HZ, Decoder

WINDOWS_S = (8.0, 10.0, 12.0, 15.0, FULL_WINDOW_S)


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.sub(r"[^\w' ]", " ", text.lower()).split()


def word_errors(said: list[str], heard: list[str]) -> int:
    """The edit distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != other))
    return row[-1]


def read(path: Path) -> np.ndarray:
    """A recording as float32 [samples] at 16 kHz."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ).astype(np.float32)


def main() -> None:
    """Prints one row for each window."""
    parser = argparse.ArgumentParser(description="Compare encoder windows.")
    parser.add_argument("clips", type=Path, help="lines of: path, tab, words")
    parser.add_argument("--model", type=Path, required=True, help="folder of a CTranslate2 model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--language", default="en")
    args = parser.parse_args()

    lines = (line.split("\t", 1) for line in args.clips.read_text().splitlines() if line.strip())
    clips = [(read(Path(path)), words(said)) for path, said in lines]
    model = WhisperModel(str(args.model), device=args.device, compute_type=args.compute_type)
    total = sum(len(said) for _, said in clips)
    print(f"{len(clips)} recordings, {total} words")
    print("window    WER   median ms    max ms   decoded again")
    for window_s in WINDOWS_S:
        decoder = Decoder(model, beam_size=1, min_window_s=window_s)
        errors, again, times_ms = 0, 0, []
        for audio, said in clips:
            started = time.perf_counter()
            transcript = decoder.decode(
                audio, language=args.language, prompt=None, hotwords=None, retry=True
            )
            times_ms.append((time.perf_counter() - started) * 1000)
            errors += word_errors(said, words(transcript.text))
            again += window_s < FULL_WINDOW_S == transcript.window_s
        print(
            f"{window_s:4.0f} s {100 * errors / total:6.1f} % {np.median(times_ms):9.0f}"
            f" {max(times_ms):9.0f} {again:9d}"
        )


if __name__ == "__main__":
    main()
