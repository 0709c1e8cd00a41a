"""`csm-agent persona preview`: one line in a persona's voice."""

import argparse
import sys
from pathlib import Path

from agent.config import ConfigError
from agent.persona import Persona, load_persona
from agent.persona_commands.folders import find_file, own_dir

# Words a line; a whole reply is spoken in the page.
_MOST_CHARS = 500


def run(args: argparse.Namespace) -> int:
    """Speaks a line into a file or out of the loudspeaker.

    Raises:
        ConfigError: There is no such persona, or its voice cannot speak.
        ModelError: Kokoro is not here.
    """
    from pipecat_csm import CSMError

    persona = load_persona(find_file(args.name, own_dir(args.dir)))
    text = args.text or persona.greeting or f"Hello, I'm {persona.display_name}."
    if len(text) > _MOST_CHARS:
        raise ConfigError(f"A preview has at most {_MOST_CHARS} characters; `csm-agent say` more.")
    out = args.out or (None if args.play else Path(f"{persona.name}.wav"))
    print(f"csm-agent: {_how(persona, args.checkpoint)}", file=sys.stderr)
    try:
        if args.checkpoint:
            _with_csm(persona, text, out, args)
        else:
            _with_fallback(persona, text, out, play=args.play)
    except CSMError as error:
        raise ConfigError(str(error)) from None
    if out is not None and str(out) != "-":
        print(out)
    return 0


def _how(persona: Persona, checkpoint: str | None) -> str:
    number = len(persona.voice.references)
    if checkpoint and number:
        return f"Speaking with CSM and {number} recording{'s' if number > 1 else ''}."
    if checkpoint:
        return f"{persona.display_name} has no recordings; CSM picks a voice by itself."
    return (
        f"Speaking with the fallback voice, Kokoro's {persona.voice.kokoro}; --checkpoint "
        "sesame/csm-1b speaks with CSM."
    )


def _with_fallback(persona: Persona, text: str, out: Path | None, *, play: bool) -> None:
    from pipecat_csm.playing import sinks

    from agent.embedded.kokoro import Kokoro
    from agent.embedded.kokoro_model import SAMPLE_RATE_HZ, KokoroError
    from agent.models import resolve

    with sinks(SAMPLE_RATE_HZ, out, play=play) as into:
        try:
            kokoro = Kokoro(resolve("kokoro-82m", "tts"))
            try:
                audio = kokoro.synthesize(text, persona.voice.kokoro, persona.voice.speed).audio
            finally:
                kokoro.close()
        except KokoroError as error:
            raise ConfigError(str(error)) from None
        for sink in into:
            sink(audio)


def _with_csm(persona: Persona, text: str, out: Path | None, args: argparse.Namespace) -> None:
    from pipecat_csm import load_csm_1b
    from pipecat_csm.audio import SAMPLE_RATE_HZ
    from pipecat_csm.playing import sinks

    from agent.say_progress import Progress
    from agent.voices.segments import reference_segments

    progress = Progress(sys.stderr)
    voice = persona.voice
    references = reference_segments(persona)
    with (
        progress.with_warnings(),
        sinks(SAMPLE_RATE_HZ, out, play=args.play) as into,
        load_csm_1b(
            args.device, checkpoint=args.checkpoint, progress=progress.loading
        ) as generator,
    ):
        speech = generator.generate_stream(
            text,
            voice.speaker,
            temperature=voice.temperature,
            topk=voice.top_k,
            references=references,
            seed=args.seed,
        )
        for chunk in speech:
            for sink in into:
                sink(chunk.numpy())
