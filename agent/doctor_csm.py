"""`csm-agent doctor --checkpoint`: is this CSM what transformers runs, and does it speak?"""

import asyncio
import sys


def examine_checkpoint(source: str, device: str | None) -> int:
    """Prints how far our logits are from transformers', and what Whisper hears of a sentence.

    Returns:
        0 if the two agree, else 1. What Whisper hears is for a person to judge.
    """
    import torch
    from pipecat_csm import CSMError
    from pipecat_csm.comparison import SENTENCE, compare_with_transformers

    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    print(f"checkpoint: {source} on {where}, in float32; torch {torch.__version__}")
    try:
        result = compare_with_transformers(source, device=where)
        # float32 sums in another order differ by about one in a million.
        agrees = result.same_choice == 1 and result.largest < 1e-3
        print(
            f"  {'ok  ' if agrees else 'BAD '}  {result.frames} frames, the same codes forced on "
            f"both: {result.same_choice:.2%} of the likeliest codes are the same; the logits "
            f"differ by at most {result.largest:.1e} of the largest, on average {result.mean:.1e}"
        )
        heard = _heard(source, where, SENTENCE)
    except CSMError as error:
        print(f"csm-agent: {error}", file=sys.stderr)
        return 1
    print(f"  said   {SENTENCE}\n  heard  {heard}")
    print("Please post this, with your hardware, where the project's issues are kept.")
    return 0 if agrees else 1


def _heard(source: str, device: str, text: str) -> str:
    import numpy as np
    import soxr
    from pipecat_csm import load_csm_1b
    from pipecat_whisper import WhisperEngine

    from agent.models import resolve

    print("Speaking a sentence ...")
    with load_csm_1b(device, checkpoint=source) as generator:
        audio = generator.generate(text, 0, max_audio_length_ms=10_000, seed=0).numpy()
    engine = WhisperEngine(resolve("tiny.en", "whisper"))
    try:
        wave = soxr.resample(audio, generator.sample_rate, 16_000).astype(np.float32)
        return asyncio.run(engine.transcribe(wave)).text or "(nothing)"
    finally:
        engine.close()
