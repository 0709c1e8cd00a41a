"""Segments as the frames that CSM reads, exactly as Sesame lays them out.

A frame is one position: [codebooks + 1] ids, of which either the text id (the last column) or the
codes (all the others) count. A Segment is the frames of its text, then those of its audio, then one
all-zero audio frame; the target of a generation is text alone.
(SesameAILabs/csm, `generator.py`; transformers' `CsmProcessor` gives the same sequence.)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from pipecat_csm.errors import ContextError
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.segment import Segment

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class Prompt:
    """Frames for the backbone, on the CPU.

    Attributes:
        tokens: int64 [T, codebooks + 1]; 0 where the mask is False.
        mask: bool [T, codebooks + 1]; what counts: the last column in a text frame, all the others
            in an audio frame.
    """

    tokens: torch.Tensor
    mask: torch.Tensor

    def __len__(self) -> int:
        """T, the positions it takes."""
        return self.tokens.shape[0]


def text_frames(tokenizer: "Tokenizer", config: CSMConfig, text: str, speaker: int) -> Prompt:
    """The words of one speaker: BOS, "[speaker]text", EOT.

    The text is taken as it is (see `text.normalise`). What in it looks like a special token is read
    as the characters it is made of, so that nobody's words can end a Segment or open another one.
    """
    ids = [config.bos_id, *_plain_ids(tokenizer, config, f"[{speaker}]{text}"), config.eot_id]
    prompt = _blank(len(ids), config)
    prompt.tokens[:, -1] = torch.tensor(ids)
    prompt.mask[:, -1] = True
    return prompt


def audio_frames(config: CSMConfig, codes: torch.Tensor, closed: bool) -> Prompt:
    """The sound.

    Args:
        config: The checkpoint's dimensions.
        codes: int64 [frames, codebooks].
        closed: Whether the all-zero frame follows, which ends the sound of a Segment.

    Raises:
        ContextError: The codes are not the checkpoint's: another number of codebooks, or values
            that the codec has not (they would address another codebook's embeddings).
    """
    if codes.ndim != 2 or codes.shape[1] != config.codebooks:
        raise ContextError(
            f"The codes are of shape {list(codes.shape)}; this checkpoint's are "
            f"[frames, {config.codebooks}]."
        )
    frames = codes.shape[0]
    prompt = _blank(frames + closed, config)
    prompt.tokens[:frames, :-1] = codes
    prompt.mask[:, :-1] = True
    if frames and not 0 <= prompt.tokens.min() <= prompt.tokens.max() < config.codec.codebook_size:
        raise ContextError(
            f"The codes reach from {codes.min()} to {codes.max()}; this checkpoint's lie from 0 to "
            f"{config.codec.codebook_size - 1}."
        )
    return prompt


def segment_frames(tokenizer: "Tokenizer", config: CSMConfig, segment: Segment) -> Prompt:
    """A whole Segment of the context, closed. Of the target of a generation take `text_frames`.

    Raises:
        ContextError: It has no sound, its audio has not been encoded yet, or its codes are not the
            checkpoint's.
    """
    if not segment.is_spoken:
        raise ContextError(
            f"Segment {segment.id} has no sound; in a context every Segment has audio or codes."
        )
    if segment.codes is None:
        raise ContextError(f"The audio of Segment {segment.id} has not been encoded yet.")
    text = text_frames(tokenizer, config, segment.text, segment.speaker)
    return concat([text, audio_frames(config, segment.codes, closed=True)])


def concat(prompts: Iterable[Prompt]) -> Prompt:
    """One after the other. At least one; the number of codebooks must be the same."""
    parts = list(prompts)
    return Prompt(
        torch.cat([part.tokens for part in parts]), torch.cat([part.mask for part in parts])
    )


def positions(tokenizer: "Tokenizer", config: CSMConfig, segment: Segment) -> int:
    """How many of the backbone's positions a Segment takes: encoded, not yet, or text alone."""
    text = 2 + len(_plain_ids(tokenizer, config, f"[{segment.speaker}]{segment.text}"))
    if segment.codes is not None:
        return text + segment.codes.shape[0] + 1
    if segment.audio is not None:
        return text + -(-segment.audio.shape[0] // config.codec.frame_samples) + 1
    return text


def _blank(length: int, config: CSMConfig) -> Prompt:
    shape = (length, config.codebooks + 1)
    return Prompt(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool))


def _plain_ids(tokenizer: "Tokenizer", config: CSMConfig, text: str) -> list[int]:
    # BOS and EOT are set by the caller, not by the tokenizer's post-processor, which not every
    # checkpoint's has. `Tokenizer.encode_special_tokens` would defuse special tokens as well, but
    # it is a switch on an object that others share (transformers flips it back on each call), and
    # leaves tokens alone that a mirror added without the flag. Cut after its first character, no
    # special token can match, and a text without one (all but an attacker's) is encoded whole.
    cuts = [0, *sorted(_special_starts(tokenizer, config, text)), len(text)]
    ids: list[int] = []
    for start, end in pairwise(cuts):
        ids += tokenizer.encode(text[start:end], add_special_tokens=False).ids
    return ids


def _special_starts(tokenizer: "Tokenizer", config: CSMConfig, text: str) -> set[int]:
    """Where to cut: one character into each special token's name, overlapping ones included."""
    structural = {config.bos_id, config.eot_id, config.audio_id, config.audio_eos_id}
    cuts = set()
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        # Others are words that a fine-tuned checkpoint added to be used, such as "<laugh>".
        if not (token.special or token_id in structural):
            continue
        start = text.find(token.content)
        while start >= 0:
            cuts.add(start + 1)
            start = text.find(token.content, start + 1)
    return cuts
