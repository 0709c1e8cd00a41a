"""Codec and speech model as one checkpoint, as `CsmForConditionalGeneration` saves it.

Half precision: a third of the places of float32 carries all that so little training has settled,
and the folder is half as large. Both transformers and `load_csm_1b` widen it again when they read
it; what they compute from then on is the same.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import CsmForConditionalGeneration

from scripts.mini_training.codec.codes import read_codec
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.learning import load
from scripts.mini_training.settings import SpeechSize
from scripts.mini_training.speech.model import csm_config
from scripts.mini_training.speech.tokenizer import letters

TEMPERATURE, TOP_K = 0.6, 30
"""What a model that has heard hours, not a million of them, is best drawn with."""


def export(work: Path, size: SpeechSize, folder: Path) -> int:
    """Writes the checkpoint of what is in the work folder.

    Returns:
        The size of its weights in bytes.

    Raises:
        TrainingError: A stage is missing, or was run with another size.
    """
    file = work / "speech.pt"
    if not file.exists():
        raise TrainingError(f"{file} is not there; run the speech stage first.")
    return write(folder, size, read_codec(work), load(file)["model"])


def write(folder: Path, size: SpeechSize, codec: Any, speech: dict[str, torch.Tensor]) -> int:
    """Writes a checkpoint of a codec and a speech model's weights; see `export`."""
    model: Any = CsmForConditionalGeneration(csm_config(size, codec.config)).eval()
    model.codec_model.load_state_dict(codec.state_dict())
    try:
        missing, _ = model.load_state_dict(speech, strict=False)
    except RuntimeError as error:
        raise TrainingError(f"The speech model is of another --size: {error}") from None
    if any(not name.startswith("codec_model.") for name in missing):
        raise TrainingError("The speech model is of another --size, or was cut short.")
    generation = model.generation_config
    generation.do_sample, generation.max_new_tokens = True, 125
    generation.temperature, generation.top_k = TEMPERATURE, TOP_K
    depth = model.depth_decoder.generation_config
    depth.do_sample, depth.temperature, depth.top_k = True, TEMPERATURE, TOP_K
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.to(torch.float16).save_pretrained(partial)
    letters().save(str(partial / "tokenizer.json"))
    folder.mkdir(parents=True, exist_ok=True)
    for path in partial.iterdir():  # what else is there, such as its card, stays
        path.replace(folder / path.name)
    partial.rmdir()
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
