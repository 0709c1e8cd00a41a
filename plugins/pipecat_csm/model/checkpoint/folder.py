"""What is in a checkpoint's folder: which files hold the weights, the codec and the tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from pipecat_csm.errors import CheckpointError, OptionError
from pipecat_csm.model.checkpoint import kyutai_mimi
from pipecat_csm.model.checkpoint.reading import Stored, read_headers
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.sampling import SamplingOptions

# transformers' come first: sesame/csm-1b has both formats, and Sesame's is without codec there.
_NAMES = ("transformers", "model")


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json, or {} if it has none.

    Raises:
        CheckpointError: It is not JSON, or not an object.
    """
    path = folder / "config.json"
    if not path.exists():
        return {}
    return _read_object(path)


def read_sampling(folder: Path) -> SamplingOptions:
    """How the checkpoint is best drawn from; Sesame's own where its files do not say.

    Raises:
        CheckpointError: What they say makes no sense.
    """
    path = folder / "generation_config.json"
    said = _read_object(path) if path.exists() else {}
    own = SamplingOptions()
    temperature, top_k = (said.get(name) for name in ("temperature", "top_k"))
    try:
        return SamplingOptions(
            own.temperature if temperature is None else temperature,
            own.top_k if top_k is None else top_k,
        )
    except OptionError as error:
        raise CheckpointError(f"{path} makes no sense: {error}") from None


def find_weights(folder: Path, config: Mapping[str, Any]) -> list[Path]:
    """The safetensors files of the model, by what config.json says, or by their usual names.

    Raises:
        CheckpointError: There are none, or some are missing.
    """
    named = config.get("transformers_weights")
    for index in [str(named or ""), *(f"{name}.safetensors.index.json" for name in _NAMES)]:
        # A name with a folder in it could lead out of the checkpoint.
        path = folder / Path(index).name
        if path.is_file():
            return _shards(path) if path.suffix == ".json" else [path]
    for name in _NAMES:
        if found := sorted(folder.glob(f"{name}-*-of-*.safetensors")):
            return _all_of(found)
        if (single := folder / f"{name}.safetensors").exists():
            return [single]
    if not folder.is_dir() or not any(folder.iterdir()):
        raise CheckpointError(f"{folder} is empty or no folder; it should hold a CSM checkpoint.")
    hint = (
        " ckpt.pt is not read, because such a file can run code; take model.safetensors instead."
        if any(folder.glob("*.pt")) or any(folder.glob("*.bin"))
        else ""
    )
    raise CheckpointError(
        f"{folder} holds no CSM checkpoint: neither transformers-*.safetensors nor "
        f"model*.safetensors is there.{hint}"
    )


def find_mimi(folder: Path, weights: list[Path]) -> dict[str, Stored]:
    """The codec that lies beside Sesame's weights, in the folder or in one inside it.

    Raises:
        CheckpointError: There is none.
    """
    for path in [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*/*.safetensors"))]:
        if path in weights:
            continue
        stored = read_headers([path])
        if kyutai_mimi.is_kyutai_mimi(stored) or "encoder.layers.0.conv.weight" in stored:
            return stored
    raise CheckpointError(
        f"{folder} has CSM's weights but not those of its codec Mimi; put beside them "
        "tokenizer-e351c8d8-checkpoint125.safetensors from "
        "https://huggingface.co/kyutai/moshiko-pytorch-bf16, or the folder of "
        "https://huggingface.co/kyutai/mimi."
    )


def read_tokenizer(folder: Path, config: CSMConfig) -> tokenizers.Tokenizer:
    """The folder's tokenizer.json.

    Raises:
        CheckpointError: It is missing, damaged, or another model's.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise CheckpointError(
            f"{folder} has no tokenizer.json; take that of https://huggingface.co/sesame/csm-1b "
            "or of a Llama 3.2."
        )
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise CheckpointError(f"{path} is damaged ({error}); download it again.") from None
    wanted = {"<|begin_of_text|>": config.bos_id, "<|end_of_text|>": config.eot_id}
    for token, number in wanted.items():
        if tokenizer.token_to_id(token) != number:
            raise CheckpointError(
                f"{path} is another model's: {token} is {tokenizer.token_to_id(token)} in it, "
                f"and {number} in CSM."
            )
    return tokenizer


def _shards(index: Path) -> list[Path]:
    files = _read_object(index).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(f, str) for f in files.values()):
        raise CheckpointError(f"{index} has no weight_map; download it again.")
    return [index.parent / Path(name).name for name in sorted(set(files.values()))]


def _all_of(found: list[Path]) -> list[Path]:
    stem, _, count = found[0].stem.partition("-of-")
    name = stem.rpartition("-")[0]
    if not count.isdecimal():
        return found
    digits = len(count)
    return [
        found[0].with_name(f"{name}-{number:0{digits}}-of-{count}.safetensors")
        for number in range(1, int(count) + 1)
    ]


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); download it again.") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds no JSON object; download it again.")
    return data
