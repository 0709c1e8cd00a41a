"""From a folder or the hub to a model with its weights: names and shapes first, then the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tokenizers
import torch

from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint import (
    hub,
    kyutai_mimi,
    sesame_format,
    shipped,
    transformers_format,
)
from pipecat_csm.model.checkpoint.folder import (
    find_mimi,
    find_weights,
    read_config,
    read_sampling,
    read_tokenizer,
)
from pipecat_csm.model.checkpoint.reading import Stored, check, read, read_headers
from pipecat_csm.model.checkpoint.table import Piece, Shape
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.sampling import SamplingOptions


@dataclass(frozen=True)
class Checkpoint:
    """A model with its weights, and what belongs to it.

    Attributes:
        model: In eval mode, on its device, without gradients.
        config: Its dimensions.
        tokenizer: Of the texts.
        sampling: How it is best drawn from: as its generation_config.json says.
        source: What was asked for, a folder or a hub id.
    """

    model: CSMModel
    config: CSMConfig
    tokenizer: tokenizers.Tokenizer
    sampling: SamplingOptions
    source: str


def load_checkpoint(
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
    config: CSMConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Checkpoint:
    """Loads a CSM checkpoint in transformers' or in Sesame's format, whichever the files are in.

    Memory peaks at the weights in their target type plus a few megabytes: every tensor is read,
    converted and moved by a block of rows.

    Args:
        source: A folder, a hub id as "sesame/csm-1b", or "csm-mini", which comes with this package.
        dtype: Of backbone and depth decoder. The codec stays in float32 (float64 with float64).
        revision: Of a hub id: a commit, tag or branch; by default the pinned one, or "main".
        config: Dimensions, instead of those that the files tell.
        progress: Called now and then with the bytes read and the bytes there are.

    Raises:
        CheckpointError: There is no checkpoint, it cannot be had, or it is damaged or another
            model's; one sentence says what and where.
    """
    folder = _folder_of(source, revision)
    data = read_config(folder)
    weights = find_weights(folder, data)
    stored = read_headers(weights)
    is_sesame = sesame_format.is_sesame(stored)
    if not is_sesame and not transformers_format.is_transformers(stored):
        # A foreign config tells more about a foreign file than its names do.
        if data:
            CSMConfig.from_transformers(data)
        raise CheckpointError(
            f"{weights[0].name} in {folder} is not CSM's: its tensors are called "
            f"{', '.join([*stored][:3])}."
        )
    try:
        if config is None:
            config = _config_of(folder, data, stored, is_sesame)
        with torch.device("meta"):
            model = CSMModel(config)
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise CheckpointError(
            f"The config.json in {folder} describes no possible model ({why})."
        ) from None
    tokenizer = read_tokenizer(folder, config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if is_sesame:
        codec = find_mimi(folder, weights)
        pieces = sesame_format.pieces(config)
        check(pieces, stored, lambda _: False, folder)
        pieces += _mimi_pieces(config, shapes, codec, folder)
        stored |= codec
    else:
        pieces = transformers_format.pieces(config, shapes, stored)
        check(pieces, stored, transformers_format.is_extra, folder)
    # Mimi loses quality in 16 bits, audibly at its many small residuals, and weighs little.
    codec_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    parameters = read(
        pieces,
        stored,
        shapes,
        dtype_of=lambda name: codec_dtype if name.startswith("mimi.") else dtype,
        device=device,
        progress=progress,
    )
    model.load_state_dict(parameters, assign=True)
    model.requires_grad_(False).eval().finish()
    return Checkpoint(model, config, tokenizer, read_sampling(folder), str(source))


def _folder_of(source: str | Path, revision: str | None) -> Path:
    path = Path(shipped.located(source)).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path} is a file; give the folder in which the checkpoint lies.")
    if isinstance(source, str) and hub.is_hub_id(source):
        return hub.download(source, revision)
    raise CheckpointError(
        f"There is no folder {path}; give one that holds a CSM checkpoint, the id of one on the "
        "hub, as sesame/csm-1b (https://huggingface.co/sesame/csm-1b), or csm-mini, which is here."
    )


def _config_of(
    folder: Path, data: Mapping[str, object], stored: Mapping[str, Stored], is_sesame: bool
) -> CSMConfig:
    if is_sesame and "model_type" not in data:
        return sesame_format.config_of(data, {name: s.shape for name, s in stored.items()})
    if not data:
        raise CheckpointError(
            f"{folder} has no config.json, without which the shape of the model is not known; "
            "download it from where the weights come from."
        )
    if data.get("tie_codebooks_embeddings") is False:
        raise CheckpointError(
            f"The config.json in {folder} gives the depth decoder an audio table of its own, "
            "which CSM-1B has not and which is not supported."
        )
    return CSMConfig.from_transformers(data)


def _mimi_pieces(
    config: CSMConfig, shapes: Mapping[str, Shape], codec: Mapping[str, Stored], folder: Path
) -> list[Piece]:
    if kyutai_mimi.is_kyutai_mimi(codec):
        pieces, is_extra = kyutai_mimi.pieces(config.codec, shapes), kyutai_mimi.is_extra
    else:
        pieces, is_extra = transformers_format.codec_pieces(shapes), transformers_format.is_extra
    check(pieces, codec, is_extra, folder)
    return pieces
