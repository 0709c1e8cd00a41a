"""Codec and speech model as one checkpoint, as `CsmForConditionalGeneration` saves it.

Half precision: a third of the places of float32 carries all that so little training has settled,
and the folder is half as large. Both transformers and `load_csm_1b` widen it again when they read
it; what they compute from then on is the same.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import CsmForConditionalGeneration

from scripts.mini_training.codec.codes import read_codec
from scripts.mini_training.codec.model import LearningCodec
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.learning import load, save
from scripts.mini_training.settings import Size, SpeechSize
from scripts.mini_training.speech.model import LearningSpeech, csm_config
from scripts.mini_training.speech.tokenizer import words

TEMPERATURE, TOP_K = 0.4, 30
"""What a model that has heard hours, not a million of them, is best drawn with."""

_OF_A_RUN = (
    "codes",
    *(f"codec-{part}.pt" for part in ("learn", "join", "tune", "adversary")),
    "speech-learn.pt",
)


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


def adopt(checkpoint: Path, size: Size, work: Path) -> None:
    """The reverse of `export`: codec and speech model out of a checkpoint, to go on from them.

    The codec's codes stay as they are; what comes after them may be tuned on.

    Raises:
        TrainingError: It is no checkpoint, or was made with another size or of other words; or the
            work folder holds another run, whose codes and states would be gone on with.
    """
    if any((work / name).exists() for name in _OF_A_RUN):
        raise TrainingError(f"{work} holds another run; give an empty folder with --work.")
    if not (checkpoint / "config.json").exists():
        raise TrainingError(f"There is no checkpoint in {checkpoint}; give one with --checkpoint.")
    theirs = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    if theirs != json.loads(words().to_str()):
        raise TrainingError(f"{checkpoint} knows other words than data/closed_grammar.txt has.")
    model: Any = CsmForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    codec, speech = (
        LearningCodec(size.codec),
        LearningSpeech(csm_config(size.speech, model.config.codec_config)),
    )
    of_codec = model.codec_model.state_dict()
    model.codec_model = None
    try:
        codec.mimi.load_state_dict(of_codec)
        speech.load_speech(model.state_dict())
    except RuntimeError:  # which names every weight that does not fit
        raise TrainingError(
            f"{checkpoint} is of another --size, or was made before the codec's present shape."
        ) from None
    work.mkdir(parents=True, exist_ok=True)
    save({"model": codec.state_dict()}, work / "codec-codes.pt")
    codec.mimi.save_pretrained(work / "codec")
    save({"model": speech.speech_weights()}, work / "speech.pt")


def write(folder: Path, size: SpeechSize, codec: Any, speech: dict[str, torch.Tensor]) -> int:
    """Writes a checkpoint of a codec and a speech model's weights; see `export`."""
    model: Any = CsmForConditionalGeneration(csm_config(size, codec.config)).eval()
    model.codec_model.load_state_dict(codec.state_dict())
    try:
        missing, _ = model.load_state_dict(speech, strict=False)
    except RuntimeError:  # which names every weight that does not fit
        raise TrainingError("The speech model is of another --size.") from None
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
    words().save(str(partial / "tokenizer.json"))
    folder.mkdir(parents=True, exist_ok=True)
    for path in partial.iterdir():  # what else is there, such as its card, stays
        path.replace(folder / path.name)
    partial.rmdir()
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
