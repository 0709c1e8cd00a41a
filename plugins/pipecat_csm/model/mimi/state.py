"""What a stream remembers from one step to the next: tensors made once, then changed in place."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class StreamState:
    """The memory of `batch` independent streams; the first dimension of every tensor is the stream.

    All zeros is the state of a stream that has not begun.

    Attributes:
        steps: Frames done, int64 [batch].
        tails: What each convolution still needs of its past, in the order in which the layers run.
        caches: Keys and values of the latest positions, one tensor a transformer layer,
            [batch, capacity, 2 * kv_heads, head_dim]; a ring, and behind it one scratch position
            that is written for the streams that rest and never read.
    """

    steps: Tensor
    tails: tuple[Tensor, ...]
    caches: tuple[Tensor, ...]

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor there is, for counting bytes and comparing addresses."""
        return (self.steps, *self.tails, *self.caches)

    def rows(self, batch: int) -> Self:
        """The first `batch` streams, as views: stepping them steps these streams of the whole."""
        return type(self)(
            self.steps[:batch],
            tuple(tail[:batch] for tail in self.tails),
            tuple(cache[:batch] for cache in self.caches),
        )

    def reset(self, mask: Tensor) -> None:
        """Begins the streams anew where `mask` (bool [batch]) is true, without a wait.

        The caches too are cleared, though the counter alone hides them: a NaN in them would be
        multiplied by a weight of zero and live on.
        """
        for tensor in self.tensors():
            tensor.masked_fill_(mask.view(-1, *[1] * (tensor.dim() - 1)), 0)


class DecodeState(StreamState):
    """Streams of codes that become sound; see `Mimi.decode_step`."""


class EncodeState(StreamState):
    """Streams of sound that become codes; see `Mimi.encode_step`."""


def keep(state: Tensor, new: Tensor, active: Tensor | None) -> None:
    """Writes `new` into `state` [batch, ...] where `active` (bool [batch]; None: everywhere)."""
    if active is not None:
        new = torch.where(active.view(-1, *[1] * (state.dim() - 1)), new, state)
    state.copy_(new)
