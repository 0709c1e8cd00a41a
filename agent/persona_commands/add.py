"""`csm-agent persona add`: recordings in, a persona's folder out, with a person in between."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from agent.config import ConfigError
from agent.persona import check_name, load_persona, load_personas
from agent.persona_commands.asking import ask, ask_until_said, can_ask
from agent.persona_commands.folders import FILE, own_dir
from agent.persona_commands.report import show
from agent.persona_commands.write import write_persona
from agent.reference import MAX_POSITIONS, positions, reference_path
from agent.voices.checks import Finding, check_words
from agent.voices.examining import Examined, Examiner
from agent.voices.recording import SAMPLE_RATE_HZ, Recording, read_recording
from agent.voices.words import compare

_WHY_CONSENT = """
A voice is part of a person. With these recordings CSM says, in that person's voice, whatever the
language model writes: so the person must have agreed, and the persona keeps a note of it.
Write whose voice it is and how that person agreed. For example:
  It is my own voice; I recorded it for this agent.
  Nora Lind, who signed our form of 3 May 2026.
  Synthetic voice of ...; it imitates no named person."""
_WHY_LICENCE = """
Under which terms may the recordings be used, and by whom? For example:
  My own recording, for my own use only.
  CC-BY-4.0, from https://..."""


@dataclass(frozen=True)
class Kept:
    """A recording as the persona will have it, with its words."""

    examined: Examined
    text: str


def run(args: argparse.Namespace) -> int:
    """Makes a persona; 1 if a recording is refused.

    Raises:
        ConfigError: Something is missing that nobody is there to be asked for, a recording cannot
            be read, or the folder cannot be written.
    """
    folder = own_dir(args.dir) / check_name(args.name)
    _check_what_is_given(args, folder)
    recordings = [read_recording(path.expanduser()) for path in args.audio]
    examiner = Examiner.load(args.stt)
    try:
        kept = _hear_all(args, recordings, examiner)
        if kept is None:
            print(f"\nNothing was written. Mend what is refused, and add {args.name} again.")
            return 1
        consent = args.consent or _asked(_WHY_CONSENT, "Consent: ")
        licence = args.licence or _asked(_WHY_LICENCE, "Licence: ")
        fallback = args.fallback_voice or _nearest(examiner, kept[0].examined)
    finally:
        examiner.close()
    display_name = args.display_name or args.name.replace("-", " ").replace("_", " ").title()
    write_persona(
        folder,
        {
            "display_name": display_name,
            "description": args.description,
            "language": "en",
            "prompt": args.prompt or f"You are {display_name}. You are friendly and to the point.",
            "greeting": args.greeting or f"Hi, I'm {display_name}. What can I do for you?",
            "voice": {"kokoro": fallback, "licence": licence, "consent": consent},
        },
        [(one.examined.audio, one.text) for one in kept],
        replace=args.force,
    )
    persona = load_persona(folder / FILE)
    print(f"\nWrote {folder}: {FILE} and {len(kept)} recording{'s' if len(kept) > 1 else ''}.")
    print(f"Where CSM is not, it speaks with Kokoro's {persona.voice.kokoro}.")
    there = f" --dir {args.dir}" if args.dir else ""
    print(f"Hear it: csm-agent persona preview {args.name}{there}")
    there = f" --set personas_dir={args.dir}" if args.dir else ""
    print(f"Talk to it: csm-agent serve --persona {args.name}{there}")
    return 0


def _check_what_is_given(args: argparse.Namespace, folder: Path) -> None:
    """Says what is missing before anything is loaded."""
    if folder.exists() and not args.force:
        raise ConfigError(f"{folder} exists; choose another name, or add --force to replace it.")
    if args.text and len(args.text) != len(args.audio):
        raise ConfigError(
            f"There are {len(args.audio)} --audio and {len(args.text)} --text; give a text for "
            "each recording, or none and Whisper listens."
        )
    for option, text in (("--consent", args.consent), ("--licence", args.licence)):
        if text is not None and not text.strip():
            raise ConfigError(f"{option} says nothing.")
        if text is None and not can_ask():
            example = (
                "whose voice it is and how that person agreed, as 'It is my own voice.'"
                if option == "--consent"
                else "under which terms it may be used, as 'For my own use only.'"
            )
            raise ConfigError(f"A persona needs a note on its voice: add {option} with {example}")
    if args.fallback_voice:
        from agent.embedded.kokoro_model import KokoroError
        from agent.embedded.styles import VOICES_DIR, Styles

        try:
            Styles(VOICES_DIR).style(args.fallback_voice)
        except KokoroError as error:
            raise ConfigError(f"--fallback-voice: {error}") from None


def _hear_all(
    args: argparse.Namespace, recordings: list[Recording], examiner: Examiner
) -> list[Kept] | None:
    """Every recording with its words; None if something was refused."""
    kept: list[Kept] = []
    refused = False
    for number, (path, recording) in enumerate(zip(args.audio, recordings, strict=True)):
        print(f"\n{path}: {recording.describe()}", flush=True)
        given = args.text[number] if args.text else None
        examined = examiner.examine(recording, given)
        if examined.steps:
            print(f"  {'; '.join(examined.steps)}")
        show(examined.findings)
        usable = examined.is_usable
        if kept and (same := examiner.compare(examined, kept[0].examined, args.audio[0].name)):
            show([same])
            usable = usable and same.grade != "refused"
        if not usable:
            refused = True
            continue
        text = _normalised(given or _words(args, examined))
        if not given:
            print(f"  text: {text}")
        kept.append(Kept(examined, text))
    if not refused:
        refused = _too_long(kept)
    return None if refused else kept


def _words(args: argparse.Namespace, examined: Examined) -> str:
    """What was heard, as a person at the terminal corrects it."""
    if args.yes or not can_ask():
        return examined.transcript
    print("  Whisper heard what stands below. Correct it to what is said, word for word; Enter.")
    while True:
        text = ask("  text: ", text=examined.transcript)
        if not text:
            continue
        finding = check_words(compare(text, examined.transcript))
        if finding.grade == "good":
            return text
        show([finding])
        if ask("  Take your text all the same? [y/N] ").lower() in {"y", "yes"}:
            return text


def _normalised(text: str) -> str:
    from pipecat_csm.errors import TextError
    from pipecat_csm.text import normalise

    try:
        return normalise(text)
    except TextError as error:
        raise ConfigError(f"The text of a recording cannot be used: {error}") from None


def _too_long(kept: list[Kept]) -> bool:
    lengths_s = [len(one.examined.audio) / SAMPLE_RATE_HZ for one in kept]
    taken = sum(
        positions(length_s, one.text) for length_s, one in zip(lengths_s, kept, strict=True)
    )
    if taken <= MAX_POSITIONS:
        return False
    sentence = (
        f"Together they last {sum(lengths_s):.0f} s and take about {taken} positions; CSM keeps "
        f"{MAX_POSITIONS} for references, about 30 s of speech. Use fewer, or shorter ones."
    )
    print()
    show([Finding("refused", sentence)])
    return True


def _asked(why: str, question: str) -> str:
    print(why)
    return ask_until_said(question)


def _nearest(examiner: Examiner, examined: Examined) -> str:
    """The fallback voice of the shipped persona whose recording is most like this one."""
    shipped = [
        (persona.voice.kokoro, read_recording(reference_path(persona.folder, reference)).mono())
        for persona in load_personas().values()
        for reference in persona.voice.references[:1]
    ]
    nearest = examiner.nearest(examined, [audio for _, audio in shipped])
    return "af_heart" if nearest is None else shipped[nearest][0]
