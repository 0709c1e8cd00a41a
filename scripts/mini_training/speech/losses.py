"""What a small CSM is taught, and against what it is guarded.

- The first code of every frame, in the context and at the end alike, and that it ends: the
  all-zero frame is a target like any other. The other codes on a share of the frames, drawn anew
  each time, always with the last, because neighbouring frames teach much the same (Sesame's 1/16).
  The earlier a code, the more of the sound is in it: the k-th counts as much as 1/k of the first.
- Where to look: in two layers, one head is rewarded for the weight that it gives to the word (or
  letter) that is being spoken. Nothing is asked of the other heads.
- Noise in what it reads: some frames of the context, also of the very sentence it speaks, hold
  wrong codes. So it does not lean on the frame before, which when it speaks is its own and may be
  wrong, but on the text. (Letters are never masked: without the text there is nothing to say, and
  to guess is what it must not learn.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scripts.mini_training.speech.batch import Batch
from scripts.mini_training.speech.model import LearningSpeech

_SMOOTHING = 0.02
_LOOK_WEIGHT = 0.2
_WRONG_FRAMES, _WRONG_CODES = 0.08, 0.04
_RIGHT_WEIGHT = 0.5


@dataclass(frozen=True)
class Losses:
    """Of a batch.

    Attributes:
        first: Cross entropy of the first codes, in nats.
        others: The same of each of the others, [codebooks - 1].
        look: Of the heads that are taught where to look.
        looks_right: The share of frames for which the better of them gives what is being spoken
            more than half of its weight.
        end: Cross entropy of the first code of the closing frames.
    """

    first: Tensor
    others: Tensor
    look: Tensor
    looks_right: Tensor
    end: Tensor

    @property
    def total(self) -> Tensor:
        """What is made small."""
        return self.codes + _LOOK_WEIGHT * self.look

    @property
    def codes(self) -> Tensor:
        """Of all codes, the earlier of the others counting for more."""
        weights = 1 / torch.arange(1, len(self.others) + 1, device=self.others.device)
        return self.first + (self.others * weights).sum() / weights.sum()

    @property
    def numbers(self) -> dict[str, float]:
        """For people."""
        return {
            "c0": self.first.item(),
            "second": self.others[0].item(),
            "rest": self.others.mean().item(),
            "end": self.end.item(),
            "looks right": self.looks_right.item(),
        }


def losses(
    model: LearningSpeech, batch: Batch, *, depth_share: float, smoothing: float = _SMOOTHING
) -> Losses:
    """The losses of a batch; with noise and smoothing only while the model learns."""
    csm = model.csm
    smoothing = smoothing if model.training else 0.0
    tokens = wrong_codes(batch, csm.config.codec_config.codebook_size) if model.training else None
    read = csm.backbone_model(
        inputs_embeds=model.embed(batch.tokens if tokens is None else tokens, batch.mask),
        output_attentions=True,
        use_cache=False,
    )
    line, row = batch.predicts.nonzero(as_tuple=True)
    hidden = read.last_hidden_state[line, row]
    codes = batch.tokens[line, row + 1, :-1]
    logits = csm.lm_head(hidden)
    each = nn.functional.cross_entropy(
        logits, codes[:, 0], label_smoothing=smoothing, reduction="none"
    )
    ends = (codes == 0).all(dim=1)
    look, right = _looking(read.attentions, batch)
    return Losses(
        first=each.mean(),
        others=_others(model, hidden, codes, ends, depth_share, smoothing),
        look=look,
        looks_right=right,
        end=each[ends].mean(),
    )


def wrong_codes(batch: Batch, codebook_size: int) -> Tensor:
    """The tokens, some of whose codes are others; texts and closing frames stay."""
    codes = batch.tokens[..., :-1]
    random = torch.rand(codes.shape[:2], device=codes.device)[..., None] < _WRONG_FRAMES
    wrong = random | (torch.rand(codes.shape, device=codes.device) < _WRONG_CODES)
    wrong &= batch.mask[..., :-1] & (codes != 0).any(dim=-1, keepdim=True)
    others = torch.randint_like(codes, codebook_size)
    return torch.cat([torch.where(wrong, others, codes), batch.tokens[..., -1:]], dim=-1)


def _others(
    model: LearningSpeech,
    hidden: Tensor,
    codes: Tensor,
    ends: Tensor,
    share: float,
    smoothing: float,
) -> Tensor:
    chosen = ends | (torch.rand(ends.shape, device=ends.device) < share)
    hidden, codes = hidden[chosen], codes[chosen]
    # The first position is the backbone's, whatever stands there.
    ids = nn.functional.pad(codes[:, :-1], (1, 0))
    logits = model.csm.depth_decoder(
        input_ids=ids, backbone_last_hidden_state=hidden, use_cache=False
    ).logits
    return nn.functional.cross_entropy(
        logits.transpose(1, 2), codes[:, 1:], label_smoothing=smoothing, reduction="none"
    ).mean(dim=0)


def _looking(attentions: tuple[Tensor, ...], batch: Batch) -> tuple[Tensor, Tensor]:
    """How little the taught heads look at what is being spoken, and how often one does."""
    line, row = batch.predicts.nonzero(as_tuple=True)
    middle = len(attentions) // 2
    columns = batch.looks[line, row]
    given = torch.stack(
        [layer[line, 0, row, columns] for layer in attentions[max(middle - 1, 0) : middle + 1]]
    )
    right = (given.max(dim=0).values > _RIGHT_WEIGHT).float().mean()
    return -given.float().clamp(min=1e-6).log().mean(), right
