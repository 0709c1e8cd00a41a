"""`csm-agent persona list`."""

import argparse

from agent.persona import Persona, load_personas
from agent.persona_commands.folders import own_dir


def run(args: argparse.Namespace) -> int:
    """Names every persona with its voice."""
    own = own_dir(args.dir)
    personas = load_personas(own if args.dir or own.is_dir() else None)
    width = max(len(name) for name in personas)
    for persona in personas.values():
        print(f"{persona.name:{width}}  {persona.display_name}: {persona.description}")
        print(f"{'':{width}}  {_voice(persona)}")
    return 0


def _voice(persona: Persona) -> str:
    voice = persona.voice
    number = len(voice.references)
    recordings = (
        "no recordings" if not number else "1 recording" if number == 1 else f"{number} recordings"
    )
    return f"{recordings}, else Kokoro's {voice.kokoro}; {voice.licence}"
