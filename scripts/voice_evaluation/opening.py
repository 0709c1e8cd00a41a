"""What the command line names: the voice that is wanted, and the one that speaks."""

import argparse
import sys
from collections.abc import Mapping

from agent.embedded.kokoro import Kokoro
from agent.persona import Persona, choose
from agent.say_input import read_references
from agent.say_progress import Progress
from scripts.voice_evaluation.csm_speaking import CSMSpeaker
from scripts.voice_evaluation.errors import EvaluationError
from scripts.voice_evaluation.reference import Reference, of_persona, of_recordings
from scripts.voice_evaluation.speaking import KokoroSpeaker, Speaker

_DEFAULT_PERSONA = "ada"
_OWN = "kokoro"


def reference_of(args: argparse.Namespace, personas: Mapping[str, Persona]) -> Reference:
    """The voice that it should be.

    Raises:
        ConfigError: There is no such persona, or a recording of it cannot be read.
        CSMError: A recording or its words cannot be used.
        EvaluationError: The persona has no recordings.
    """
    if args.reference or args.reference_text:
        return of_recordings(args.reference, read_references(args))
    return of_persona(choose(dict(personas), args.persona or _DEFAULT_PERSONA))


def open_speaker(args: argparse.Namespace, reference: Reference, kokoro: Kokoro) -> Speaker:
    """The voice that speaks.

    Args:
        args: The command line.
        reference: Which CSM is given.
        kokoro: The embedded voice's model.

    Raises:
        CSMError: The checkpoint cannot be had or used, or the reference is too long for it.
        KokoroError: There is no such voice.
        EvaluationError: No persona says which of Kokoro's voices is meant.
    """
    if args.checkpoint is not None:
        return _open_csm(args, reference)
    if args.voice != _OWN:
        return KokoroSpeaker(kokoro, args.voice, 1.0)
    if reference.kokoro is None:
        raise EvaluationError(
            "--voice kokoro is a persona's voice, and --reference names none; say which, as in "
            f"--voice {kokoro.voices[0]}."
        )
    return KokoroSpeaker(kokoro, reference.kokoro, reference.speed)


def _open_csm(args: argparse.Namespace, reference: Reference) -> CSMSpeaker:
    import torch
    from pipecat_csm import load_csm_1b

    temperature = reference.temperature if args.temperature is None else args.temperature
    top_k = reference.top_k if args.topk is None else args.topk
    progress = Progress(sys.stderr)
    with progress.with_warnings():
        generator = load_csm_1b(
            args.device,
            checkpoint=args.checkpoint,
            dtype=getattr(torch, args.dtype) if args.dtype else None,
            quantize=args.quantize,
            compile=args.compile,
            max_sessions=1,
            progress=progress.loading,
        )
    try:
        sampling = generator.sampling(temperature, top_k, seed=args.seed)
        return CSMSpeaker(generator, reference, sampling)
    except BaseException:
        generator.close()
        raise
