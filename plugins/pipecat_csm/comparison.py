"""Compares a checkpoint's logits with transformers' own, for the weights that somebody has."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipecat_csm.errors import CheckpointError
from pipecat_csm.model.checkpoint import Checkpoint, load_checkpoint
from pipecat_csm.model.checkpoint.shipped import located
from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.prompt import Prompt, text_frames
from pipecat_csm.model.state import StepState

SENTENCE = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class Comparison:
    """How far two sets of logits [frames, codebooks, codes] are from each other.

    Attributes:
        frames: Compared, with the same codes forced on both sides.
        same_choice: The share of codes that both would have chosen.
        largest: The largest difference of two logits, as a share of the largest logit.
        mean: The mean difference, likewise.
    """

    frames: int
    same_choice: float
    largest: float
    mean: float


def compare_with_transformers(
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    frames: int = 25,
    say: Callable[[str], None] = print,
) -> Comparison:
    """Feeds both models the same sentence and the same codes, which are the reference's choices.

    The two are loaded one after the other, so that memory need hold only one.

    Args:
        source: A checkpoint in transformers' format; Sesame's cannot be loaded by transformers.
        device: For both.
        dtype: For both.
        frames: To compare.
        say: Told what is being done.

    Raises:
        CheckpointError: The checkpoint cannot be loaded, by us or by transformers.
    """
    say("Loading our model ...")
    checkpoint = load_checkpoint(source, device=device, dtype=dtype)
    prompt = text_frames(checkpoint.tokenizer, checkpoint.config, SENTENCE, 0)
    legal = checkpoint.config.codec.codebook_size
    say(f"Choosing {frames} frames ...")
    codes, ours = _our_logits(checkpoint, prompt, frames)
    del checkpoint
    say("Loading transformers' model ...")
    theirs = _reference_logits(source, prompt, codes, device, dtype)[..., :legal].float().cpu()
    difference, scale = (ours - theirs).abs(), float(theirs.abs().max())
    return Comparison(
        frames=frames,
        same_choice=float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()),
        largest=float(difference.max()) / scale,
        mean=float(difference.mean()) / scale,
    )


@torch.inference_mode()
def teacher_forced(model: CSMModel, prompt: Prompt, codes: Tensor) -> Tensor:
    """The logits that lead to each of these codes, through the functions that the step runs.

    Args:
        model: Loaded.
        prompt: What comes before.
        codes: int64 [frames, codebooks]; a row of -1 is filled with the likeliest codes.

    Returns:
        float32 [frames, codebooks, legal codes], on the CPU; `codes` is filled in place.
    """
    config, device = model.config, model.audio_embeddings.weight.device
    dtype = model.audio_embeddings.weight.dtype
    positions = len(prompt) + len(codes)
    codec_dtype = next(model.mimi.parameters()).dtype
    state = StepState.empty(config, model.mimi, 1, positions, device, dtype, codec_dtype)
    always = torch.ones(1, 1, dtype=torch.bool, device=device)
    rows = model.embed_rows(prompt.tokens[None].to(device), prompt.mask[None].to(device))[0]
    seen: list[list[Tensor]] = []
    for position in range(positions - 1):
        frame = position - len(prompt) + 1
        fed = (
            rows[position] if frame <= 0 else model.embed_codes(codes[frame - 1 : frame].to(device))
        )
        at = torch.tensor([[position]], device=device)
        hidden = model.backbone.over_slots(fed.view(1, 1, -1), state.kv, at, always, positions)[
            :, 0
        ]
        if frame >= 0:
            seen.append([])

            def force(logits: Tensor, codebook: int, frame: int = frame) -> Tensor:
                seen[frame].append(logits[0].float().cpu())
                if codes[frame, codebook] < 0:
                    codes[frame, codebook] = logits[0].argmax().cpu()
                return codes[frame, codebook][None].to(device)

            model.codes_of_frame(hidden, state.depth, force)
    return torch.stack([torch.stack(logits) for logits in seen])


@torch.inference_mode()
def reference_logits(reference: Any, prompt: Prompt, codes: Tensor) -> Tensor:
    """The same of transformers' `CsmForConditionalGeneration`: [frames, codebooks, all codes]."""
    device = reference.lm_head.weight.device
    codes = codes.to(device)
    text = reference.embed_text_tokens(prompt.tokens[None, :, -1].to(device))
    frames = reference.backbone_model.embed_tokens(codes[None])
    hidden = reference.backbone_model(
        inputs_embeds=torch.cat([text, frames], dim=1)
    ).last_hidden_state[0, len(prompt) - 1 : -1]
    first = reference.lm_head(hidden)
    # The depth decoder's first row is the backbone's hidden state, whatever the id.
    ids = torch.nn.functional.pad(codes[:, :-1], (1, 0))
    others = reference.depth_decoder(ids, backbone_last_hidden_state=hidden).logits
    return torch.cat([first[:, None], others], dim=1)


def _our_logits(checkpoint: Checkpoint, prompt: Prompt, frames: int) -> tuple[Tensor, Tensor]:
    codes = torch.full((frames, checkpoint.config.codebooks), -1)
    return codes, teacher_forced(checkpoint.model, prompt, codes)


def _reference_logits(
    source: str | Path,
    prompt: Prompt,
    codes: Tensor,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Tensor:
    from transformers import CsmForConditionalGeneration

    try:
        reference: Any = CsmForConditionalGeneration.from_pretrained(located(source), dtype=dtype)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"transformers cannot load {source}: {first} A checkpoint in Sesame's own format has "
            "nothing to be compared with."
        ) from None
    return reference_logits(reference.to(device).eval(), prompt, codes)
