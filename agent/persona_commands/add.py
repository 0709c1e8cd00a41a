"""`csm-agent persona add`: recordings in, a persona's folder out, with a person in between."""

import argparse
from pathlib import Path

from agent.config import ConfigError
from agent.persona import FILE, check_name
from agent.persona_commands.asking import ask, ask_until_said, can_ask
from agent.persona_commands.folders import own_dir
from agent.persona_commands.report import show
from agent.voices.checks import check_together, check_words
from agent.voices.examining import Examined, Examiner
from agent.voices.making import (
    Character,
    Kept,
    Rights,
    make_persona,
    nearest_voice,
    normalised,
)
from agent.voices.recording import Recording, read_recording
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
        fallback = args.fallback_voice or nearest_voice(examiner, kept[0].examined)
    finally:
        examiner.close()
    display_name = args.display_name or args.name.replace("-", " ").replace("_", " ").title()
    persona = make_persona(
        folder,
        Character(display_name, args.description, args.prompt or "", args.greeting or ""),
        kept,
        Rights(consent, licence),
        fallback_voice=fallback,
        maker="`csm-agent persona add`",
        replace=args.force,
    )
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
        text = normalised(given or _words(args, examined))
        if not given:
            print(f"  text: {text}")
        kept.append(Kept(examined, text))
    if not refused and (flaw := check_together([(k.examined.duration_s, k.text) for k in kept])):
        print()
        show([flaw])
        refused = True
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


def _asked(why: str, question: str) -> str:
    print(why)
    return ask_until_said(question)
