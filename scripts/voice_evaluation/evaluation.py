"""The conversation is held, then listened to, so that no model slows the voice that is timed."""

import argparse
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pipecat_csm.wav import WavWriter
from tqdm import tqdm

from agent.embedded.kokoro import Kokoro
from agent.models import resolve
from agent.persona import Persona, choose
from scripts.voice_evaluation.conversation import Turn, turns
from scripts.voice_evaluation.errors import EvaluationError
from scripts.voice_evaluation.figures import Row, overall
from scripts.voice_evaluation.judges import Judges, for_judges
from scripts.voice_evaluation.likeness import Choir, Voice
from scripts.voice_evaluation.opening import open_speaker, reference_of
from scripts.voice_evaluation.reference import Reference, recordings
from scripts.voice_evaluation.speaking import SAMPLE_RATE_HZ, KokoroSpeaker, Reply, Speaker
from scripts.voice_evaluation.words import compare

Item = TypeVar("Item")


def evaluate(args: argparse.Namespace, personas: Mapping[str, Persona]) -> dict[str, Any]:
    """Measures a voice.

    Args:
        args: See `arguments.parse_args`.
        personas: By name: whose voices are told apart.

    Returns:
        Whose voice it should be, who asked, the other voices' likeness to it, a row for every turn,
        and what they come to.

    Raises:
        CSMError, ConfigError, ModelError, KokoroError, WhisperEngineError, EvaluationError: One
            sentence says what is missing or wrong.
    """
    reference = reference_of(args, personas)
    script = turns()[: args.turns]
    with (
        contextlib.closing(Judges.load(args.whisper)) as judges,
        contextlib.closing(Kokoro(resolve("kokoro-82m", "tts"))) as kokoro,
    ):
        kokoro.warm_up()
        choir = _choir(judges, reference, personas)
        caller = choose(dict(personas), args.caller or choir.farthest)
        asking = KokoroSpeaker(kokoro, caller.voice.kokoro, caller.voice.speed)
        with contextlib.closing(open_speaker(args, reference, kokoro)) as speaker:
            replies = _converse(script, asking, speaker, args.keep)
            watched = speaker.watches
        rows, voices = _listen(script, replies, judges, choir)
    work_s = sum(reply.work_s for reply in replies)
    return {
        "reference": reference.name,
        "caller": caller.name,
        "others": {
            name: round(float(voice @ choir.reference), 4) for name, voice in choir.others.items()
        },
        "turns": [row.as_json() for row in rows],
        "overall": overall(rows, voices, work_s, watched=watched),
    }


def _choir(judges: Judges, reference: Reference, personas: Mapping[str, Persona]) -> Choir:
    voices = {
        name: judges.ear.voice(for_judges(audio))
        for name, persona in personas.items()
        if name != reference.name and (audio := recordings(persona)) is not None
    }
    wanted = judges.ear.voice(for_judges(reference.audio))
    if wanted is None:
        raise EvaluationError(f"The recordings of {reference.name} are silent; give others.")
    return Choir(wanted, {name: voice for name, voice in voices.items() if voice is not None})


def _converse(
    script: Sequence[Turn], asking: Speaker, speaker: Speaker, keep: Path | None
) -> list[Reply]:
    replies: list[Reply] = []
    for number, turn in enumerate(_bar(script, "Speaking"), 1):
        question = asking.reply(turn.asked)
        speaker.hear(turn.asked, question.audio)
        replies.append(speaker.reply(turn.answered))
        if keep is not None:
            _write(keep / f"{number:02}-caller.wav", question.audio)
            _write(keep / f"{number:02}-reply.wav", replies[-1].audio)
    return replies


def _listen(
    script: Sequence[Turn], replies: Sequence[Reply], judges: Judges, choir: Choir
) -> tuple[list[Row], list[Voice | None]]:
    rows: list[Row] = []
    voices: list[Voice | None] = []
    for number, reply in enumerate(_bar(replies, "Listening"), 1):
        text = script[number - 1].answered
        sound = for_judges(reply.audio)
        heard = judges.listener.hear(sound)
        comparison = compare(text, heard)
        voice = judges.ear.voice(sound)
        likeness = None if voice is None else choir.likeness(voice)
        voices.append(voice)
        rows.append(
            Row(
                turn=number,
                text=text,
                heard=heard,
                seconds=reply.seconds,
                rtf=reply.work_s / reply.seconds if reply.seconds else None,
                similarity=likeness and likeness.reference,
                nearest=likeness and likeness.name,
                nearest_similarity=likeness and likeness.other,
                right_voice=likeness and likeness.is_right,
                words=len(comparison.said),
                word_errors=comparison.errors,
                quality=judges.critic.rate(sound),
                runaway=reply.runaway,
            )
        )
    return rows, voices


def _bar(items: Sequence[Item], what: str) -> Iterable[Item]:
    # Where nobody looks, at a pipe or a file, there is none.
    return tqdm(items, what, unit="turn", disable=None)


def _write(path: Path, audio: NDArray[np.float32]) -> None:
    with WavWriter(path, SAMPLE_RATE_HZ) as file:
        file.write(audio)
