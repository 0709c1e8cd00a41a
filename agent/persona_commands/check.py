"""`csm-agent persona check`."""

import argparse

from agent.persona import Persona, load_persona
from agent.persona_commands.folders import find_file, own_dir
from agent.persona_commands.report import show, summary
from agent.reference import MAX_POSITIONS, positions, reference_path
from agent.voices.checks import Finding


def run(args: argparse.Namespace) -> int:
    """Checks a persona and every recording of it; 1 if something is refused.

    Raises:
        ConfigError: The file is broken, or a recording cannot be read.
    """
    persona = load_persona(find_file(args.name, own_dir(args.dir)))
    print(f"{persona.display_name} ({persona.folder})")
    findings = [_fallback(persona)]
    show(findings)
    if persona.voice.references:
        findings += _references(persona, args.stt)
    else:
        print("  It has no recordings: CSM would pick a voice by itself.")
    print(f"{persona.name}: {summary(findings)}.")
    return 1 if any(finding.grade == "refused" for finding in findings) else 0


def _fallback(persona: Persona) -> Finding:
    from agent.embedded.kokoro_model import KokoroError
    from agent.embedded.styles import VOICES_DIR, Styles

    try:
        Styles(VOICES_DIR).style(persona.voice.kokoro)
    except KokoroError as error:
        return Finding("refused", f"The fallback voice: {error}")
    return Finding("good", f"The fallback voice is Kokoro's {persona.voice.kokoro}.")


def _references(persona: Persona, stt: str) -> list[Finding]:
    from agent.voices.examining import Examiner
    from agent.voices.recording import read_recording

    examiner = Examiner.load(stt)
    findings: list[Finding] = []
    first = None
    taken = 0
    try:
        for reference in persona.voice.references:
            recording = read_recording(reference_path(persona.folder, reference))
            print(f"{reference.audio}: {recording.describe()}", flush=True)
            taken += positions(recording.duration_s, reference.text)
            examined = examiner.examine(recording, reference.text)
            found = list(examined.findings)
            if first is None:
                first = examined
            elif same := examiner.compare(examined, first, persona.voice.references[0].audio):
                found.append(same)
            show(found)
            findings += found
    finally:
        examiner.close()
    print(f"Together they take about {taken} of CSM's {MAX_POSITIONS} positions for references.")
    return findings
