"""How well a checkpoint speaks: unseen sentences, in voices that it has learned and has not.

Each way is heard by the same judges as `scripts/evaluate_voice` has: words (Whisper), whose voice
it is (Resemblyzer, against all voices of the corpus), how good it sounds (DistillMOS). Above the
model's ways stand the recordings themselves and what the codec leaves of them: no speech model can
be better than that.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ, Corpus, Utterance
from scripts.mini_training.voice import Voicebox, segment_of
from scripts.voice_evaluation.judges import Judges, for_judges
from scripts.voice_evaluation.likeness import Choir, Voice
from scripts.voice_evaluation.speaking import Reply
from scripts.voice_evaluation.words import compare

_VOICE_S = 12.0
_CONTEXT = 2


@dataclass(frozen=True)
class Way:
    """One row of the table: how the sentences are spoken.

    Attributes:
        name: For people.
        corpus: Whose sentences and voices.
        kind: "recording", "codec", "context" or "alone".
    """

    name: str
    corpus: Corpus
    kind: str


@dataclass(frozen=True)
class Spoken:
    """A sentence, as one way has it."""

    utterance: Utterance
    reply: Reply


def ways(held_out: Corpus, voices: Corpus) -> list[Way]:
    """The rows of the table."""
    return [
        Way("recordings", held_out, "recording"),
        Way("through the codec", held_out, "codec"),
        Way("learned voices, with context", held_out, "context"),
        Way("unseen voices, with context", voices, "context"),
        Way("without context", held_out, "alone"),
    ]


def evaluate(
    rows: list[Way],
    voicebox: Voicebox,
    codec: Any,
    judges: Mapping[str, Judges],
    chosen: slice,
    keep: Path | None = None,
) -> list[dict[str, Any]]:
    """Figures of every way.

    Args:
        rows: See `ways`.
        voicebox: The checkpoint.
        codec: Its codec, transformers'.
        judges: By the name of their Whisper; the first one's ear and critic count.
        chosen: Which sentences of each way.
        keep: Where the first few of each way are written as WAV files.
    """
    voices = known_voices([row.corpus for row in rows], next(iter(judges.values())))
    found = []
    for row in rows:
        spoken = list(speak(row, voicebox, codec, chosen))
        if keep is not None:
            _keep(keep, row, spoken)
        found.append({"way": row.name, **figures(row, spoken, voices, judges)})
    return found


def speak(row: Way, voicebox: Voicebox, codec: Any, chosen: slice) -> Iterator[Spoken]:
    """Each chosen sentence of a way."""
    by_voice: dict[str, list[Utterance]] = defaultdict(list)
    for one in row.corpus.utterances:
        by_voice[one.voice].append(one)
    for number, one in enumerate(row.corpus.utterances[chosen]):
        if row.kind == "recording":
            yield Spoken(one, Reply(row.corpus.audio(one), 0.0))
        elif row.kind == "codec":
            yield Spoken(one, Reply(through(codec, row.corpus.audio(one)), 0.0))
        else:
            others = [other for other in by_voice[one.voice] if other != one][:_CONTEXT]
            context = [segment_of(row.corpus, other) for other in others]
            reply = voicebox.speak(one.text, context if row.kind == "context" else [], number)
            yield Spoken(one, reply)


@torch.no_grad()
def through(codec: Any, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sound after it was codes."""
    codes = codec.encode(torch.from_numpy(audio)[None, None]).audio_codes
    return codec.decode(codes).audio_values[0, 0, : len(audio)].numpy()


def known_voices(corpora: list[Corpus], judges: Judges) -> dict[str, Voice]:
    """Every voice of the corpora, each from some seconds of it."""
    sounds: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for corpus in {id(corpus): corpus for corpus in corpora}.values():
        for one in reversed(corpus.utterances):  # those that are spoken come from the other end
            if sum(map(len, sounds[one.voice])) < _VOICE_S * SAMPLE_RATE_HZ:
                sounds[one.voice].append(corpus.audio(one))
    found: dict[str, Voice] = {}
    for name, pieces in sounds.items():
        voice = judges.ear.voice(for_judges(np.concatenate(pieces)))
        if voice is not None:
            found[name] = voice
    return found


def figures(
    row: Way, spoken: list[Spoken], voices: Mapping[str, Voice], judges: Mapping[str, Judges]
) -> dict[str, Any]:
    """What the judges say of a way."""
    first = next(iter(judges.values()))
    sounds = [for_judges(one.reply.audio) for one in spoken]
    seconds = sum(one.reply.seconds for one in spoken)
    found: dict[str, Any] = {"sentences": len(spoken), "seconds": seconds}
    for name, each in judges.items():
        heard = [
            compare(one.utterance.text, each.listener.hear(sound))
            for one, sound in zip(spoken, sounds, strict=True)
        ]
        said = sum(len(one.said) for one in heard)
        found[f"WER {name}"] = sum(one.errors for one in heard) / max(1, said)
    likes = []
    for one, sound in zip(spoken, sounds, strict=True):
        voice = first.ear.voice(sound)
        reference = voices.get(one.utterance.voice)
        if voice is not None and reference is not None and len(voices) > 1:
            likes.append(Choir(reference, voices).likeness(voice))
    ratings = [rating for sound in sounds if (rating := first.critic.rate(sound)) is not None]
    made = row.kind in ("context", "alone")
    found["similarity"] = _mean([like.reference for like in likes])
    # Without a context there is no voice that it should have.
    right = None if row.kind == "alone" else _mean([float(like.is_right) for like in likes])
    found["right voice"] = right
    found["quality"] = _mean(ratings)
    runaways = [float(one.reply.runaway is not None) for one in spoken]
    found["run-away"] = _mean(runaways) if made else None
    work_s = sum(one.reply.work_s for one in spoken)
    found["RTF"] = work_s / seconds if made and seconds else None
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The figures in Markdown."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(_cell(name, row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if name.startswith("WER") or name in ("right voice", "run-away"):
        return f"{100 * value:.1f} %"
    return f"{value:.0f}" if name == "seconds" else f"{value:.2f}"


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _keep(folder: Path, row: Way, spoken: list[Spoken]) -> None:
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(spoken[:5]):
        file = folder / f"{row.name.replace(', ', ' ').replace(' ', '-')}-{number}.wav"
        soundfile.write(file, one.reply.audio, SAMPLE_RATE_HZ)
