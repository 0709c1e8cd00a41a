"""Speech whose word times are known: sentences spoken by Kokoro, which plans them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.embedded.kokoro import Kokoro, Request
from agent.models import resolve

SAMPLE_RATE_HZ = 24_000
VOICES = ("af_heart", "am_michael", "bf_emma")

_QUIET_S = 0.06
_AROUND_S = 0.2
_BLOCK_S = 0.005
_QUIET = 0.03


@dataclass(frozen=True)
class Spoken:
    """A sentence in a voice.

    Attributes:
        text: What was said.
        voice: By whom.
        tuned: Whether the estimate was tuned with it; the others were never looked at.
        audio: float32 [samples] at 24 kHz.
        starts: [words] the second at which each word of the text begins.
    """

    text: str
    voice: str
    tuned: bool
    audio: NDArray[np.float32]
    starts: NDArray[np.floating]

    @property
    def duration_s(self) -> float:
        """Length of the audio."""
        return len(self.audio) / SAMPLE_RATE_HZ


def sentences() -> list[str]:
    """All of them, in order."""
    return (Path(__file__).parent / "sentences.txt").read_text().splitlines()


def speak(voices: Sequence[str], texts: Sequence[str], say: Callable[[str], None]) -> list[Spoken]:
    """Has every voice say every sentence; every other one is for tuning.

    Each is spoken in one go, as CSM speaks, and not clause by clause as the agent has Kokoro do.
    """
    kokoro = Kokoro(resolve("kokoro-82m", "tts"))
    spoken: list[Spoken] = []
    try:
        for voice in voices:
            for i, text in enumerate(texts):
                say(f"{voice}: {text}")
                speech = kokoro._submit(Request(text, voice, 1.0, None, final=True)).result()
                starts = np.array([start_s for _, start_s in speech.words])
                spoken.append(Spoken(text, voice, i % 2 == 0, speech.audio, starts))
    finally:
        kokoro.close()
    return spoken


def keep(path: Path, spoken: Sequence[Spoken]) -> None:
    """Writes speech to a file, so that the next run need not wait for it."""
    arrays: dict[str, Any] = {}
    for i, one in enumerate(spoken):
        arrays[f"audio{i}"] = one.audio.astype(np.float16)
        arrays[f"starts{i}"] = one.starts
    about = np.array([[one.text, one.voice, "tuned" if one.tuned else ""] for one in spoken])
    with path.open("wb") as file:
        np.savez(file, about=about, **arrays)


def kept(path: Path) -> list[Spoken]:
    """Reads what `keep` wrote."""
    with np.load(path) as arrays:
        return [
            Spoken(
                str(text),
                str(voice),
                bool(tuned),
                arrays[f"audio{i}"].astype(np.float32),
                arrays[f"starts{i}"],
            )
            for i, (text, voice, tuned) in enumerate(arrays["about"])
        ]


def label_delays(spoken: Sequence[Spoken]) -> list[float]:
    """How much later than its sound each word begins by Kokoro's plan, where that can be seen.

    That is behind a pause: there the sound begins all at once. The plan is late by nearly the same
    time everywhere, which the truth is to be corrected by.
    """
    return [delay for one in spoken for delay in _delays(one)]


def _delays(one: Spoken) -> Iterator[float]:
    block = int(_BLOCK_S * SAMPLE_RATE_HZ)
    levels = np.sqrt(
        np.mean(one.audio[: len(one.audio) // block * block].reshape(-1, block) ** 2, 1)
    )
    loud = levels > _QUIET * np.percentile(levels, 95)
    quiet = round(_QUIET_S / _BLOCK_S)
    words = one.text.split()
    for i in range(1, len(words)):
        if words[i - 1][-1] not in ",;:.!?":
            continue
        first = max(quiet, round((one.starts[i] - _AROUND_S) / _BLOCK_S))
        last = min(len(loud), round((one.starts[i] + _AROUND_S) / _BLOCK_S))
        onsets = [t for t in range(first, last) if loud[t] and not loud[t - quiet : t].any()]
        if onsets:
            yield float(one.starts[i] - onsets[0] * _BLOCK_S)
