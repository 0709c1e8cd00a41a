"""Speaks the reference recordings of the shipped personas with Kokoro; run by make_presets.

persona.yaml says what is spoken (`voice.references[].text`) and how (`voice.kokoro`, `speed`), so
that a persona sounds alike with CSM and without. The recordings are checked as `csm-agent persona
add` checks them, and Whisper must hear every word.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent.log import quieten  # noqa: E402

quieten()  # Pipecat greets when it is imported

from agent.config import read_yaml  # noqa: E402
from agent.embedded.kokoro import Kokoro  # noqa: E402
from agent.models import resolve  # noqa: E402
from agent.voices.examining import Examiner  # noqa: E402
from agent.voices.recording import (  # noqa: E402
    SAMPLE_RATE_HZ,
    Recording,
    read_recording,
    write_flac,
)
from agent.voices.words import compare  # noqa: E402

PERSONAS = ROOT / "configs" / "personas"
_MOST_BYTES = 300_000


def main() -> int:
    """Makes the recordings; 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = sorted(path.parent.name for path in PERSONAS.glob("*/persona.yaml"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names)}")
    wanted = parser.parse_args().names or names
    kokoro = Kokoro(resolve("kokoro-82m", "tts"))
    examiner = Examiner.load("tiny.en")
    flaws = [flaw for name in wanted for flaw in make(PERSONAS / name, kokoro, examiner)]
    for flaw in flaws:
        print(flaw, file=sys.stderr)
    kokoro.close()
    examiner.close()
    return 1 if flaws else 0


def make(folder: Path, kokoro: Kokoro, examiner: Examiner) -> list[str]:
    """Makes a persona's recordings and returns what is wrong with them."""
    voice = read_yaml(folder / "persona.yaml", "persona")["voice"]
    flaws: list[str] = []
    for reference in voice["references"]:
        spoken = kokoro.synthesize(reference["text"], voice["kokoro"], voice["speed"]).audio
        path = folder / reference["audio"]
        write_flac(path, examiner.examine(_recording(spoken)).audio)
        flaws += [f"{path}: {flaw}" for flaw in _flaws(path, reference["text"], examiner)]
        print(f"{path.relative_to(ROOT)}: {read_recording(path).describe()}", flush=True)
    return flaws


def _flaws(path: Path, text: str, examiner: Examiner) -> list[str]:
    examined = examiner.examine(read_recording(path), text)
    flaws = [finding.sentence for finding in examined.findings if finding.grade != "good"]
    if different := compare(text, examined.transcript).differences:
        flaws.append("; ".join(map(str, different)))
    if path.stat().st_size > _MOST_BYTES:
        flaws.append(f"It has {path.stat().st_size:,} bytes, above {_MOST_BYTES:,}.")
    return flaws


def _recording(samples: NDArray[np.float32]) -> Recording:
    return Recording(samples[:, None], SAMPLE_RATE_HZ)


if __name__ == "__main__":
    sys.exit(main())
