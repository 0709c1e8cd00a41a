"""Codebooks that learn with the codec they are in.

Fitted to an encoder that has never met them, they leave out what it takes for granted: a quarter of
the words were misheard where it had been a tenth. So for the last part of its time the codec goes
through them. The nearest code is taken, the gradient passes by as if it had been exact, every code
follows the vectors that it stands for (van den Oord et al. 2017), and the encoder is asked to stay
near its codes. transformers keeps for each code the sum and the number of its vectors, for just
this.
"""

from typing import Any

import torch
from torch import Tensor

from scripts.mini_training.codec.books import nearest

_DECAY = 0.99
_USAGE = 0.25  # vectors a step and code, with a batch of four clips


@torch.no_grad()
def quantised(side: Any, latents: Tensor, learning: bool) -> Tensor:
    """What the codebooks of one side make of what they are given.

    Args:
        side: transformers' `MimiResidualVectorQuantizer`.
        latents: [clips, bottleneck, frames].
        learning: Whether the codes follow what they stand for.

    Returns:
        The same shape.
    """
    left = latents.transpose(1, 2).flatten(0, 1).float()
    whole = left
    for layer in side.layers:
        book = layer.codebook
        table = table_of(book)
        codes = nearest(left, table)
        if learning:
            _follow(book, codes, left)
        left = left - table[codes]
    return (whole - left).unflatten(0, (latents.shape[0], -1)).transpose(1, 2)


def table_of(book: Any) -> Tensor:
    """The codes of a book, [codes, bottleneck], as they are now."""
    return book.embed_sum / book.cluster_usage[:, None]


@torch.no_grad()
def loosen(side: Any) -> None:
    """Gives every code of one side the weight of its last hundred steps, so that it can move."""
    for layer in side.layers:
        book = layer.codebook
        book.embed_sum.copy_(_USAGE * table_of(book))
        book.cluster_usage.fill_(_USAGE)


@torch.no_grad()
def fix(side: Any) -> None:
    """Ends the learning of one side: the rarest code is 0, and every number one of 16 bits."""
    for layer in side.layers:
        book = layer.codebook
        order = book.cluster_usage.argsort(stable=True)
        book.embed_sum.copy_(table_of(book)[order].half().float())
        book.cluster_usage.fill_(1.0)
        book._embed = None


def _follow(book: Any, codes: Tensor, vectors: Tensor) -> None:
    counts = torch.bincount(codes, minlength=len(book.cluster_usage)).to(vectors.dtype)
    sums = torch.zeros_like(book.embed_sum).index_add_(0, codes, vectors)
    book.cluster_usage.lerp_(counts, 1 - _DECAY)
    book.embed_sum.lerp_(sums, 1 - _DECAY)
