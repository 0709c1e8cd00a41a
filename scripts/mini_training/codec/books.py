"""Codebooks for a codec that has learned without: residual k-means.

One after the other, each on what those before it have left. A code's number is the rank of its
rarity, so that 0 is the rarest: CSM ends a speech by a frame of nothing but zeros, and a sound that
looked nearly so would be a risk at every frame.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_ROUNDS = 20
_AT_ONCE = 8_192


def fit_side(
    side: Any,
    vectors: Tensor,
    seed: int,
    tell: Callable[[int, float], None],
    kinds: Tensor | None = None,
) -> None:
    """Fills the codebooks of one side of Mimi's split quantiser.

    Args:
        side: transformers' `MimiResidualVectorQuantizer`.
        vectors: What it quantises, [frames, bottleneck].
        seed: Of the choice of the first centres.
        tell: Called after each book with its index and the share of the variance still left.
        kinds: int64 [frames]; no code of the first book will stand for vectors of two kinds.
    """
    variance = vectors.var(dim=0).sum()
    left = vectors
    for index, layer in enumerate(side.layers):
        book = layer.codebook
        found = (
            k_means_of_kinds(left, kinds, book.codebook_size, seed)
            if kinds is not None and index == 0
            else k_means(left, book.codebook_size, seed + index)
        )
        centres = by_rarity(found, left)
        # Half precision is what will be exported; what comes after is tuned to the rounded book.
        centres = centres.half().float()
        book.embed_sum.copy_(centres)
        book.cluster_usage.fill_(1.0)
        book._embed = None
        left = left - centres[nearest(left, centres)]
        tell(index, float(left.var(dim=0).sum() / variance))


def k_means(vectors: Tensor, count: int, seed: int) -> Tensor:
    """Centres [count, dimensions] of vectors [n, dimensions]; n may be less than count."""
    random = torch.Generator().manual_seed(seed)

    def some(wanted: int) -> Tensor:
        drawn = torch.randint(len(vectors), (wanted,), generator=random)
        if len(vectors) >= wanted:
            drawn = torch.randperm(len(vectors), generator=random)[:wanted]
        return vectors[drawn.to(vectors.device)]

    centres = some(count).clone()
    for _ in range(_ROUNDS):
        owners = nearest(vectors, centres)
        sizes = torch.bincount(owners, minlength=count)
        sums = torch.zeros_like(centres).index_add_(0, owners, vectors)
        lonely = sizes == 0
        centres = sums / sizes.clamp(min=1)[:, None]
        centres[lonely] = some(int(lonely.sum()))
    return centres


def k_means_of_kinds(vectors: Tensor, kinds: Tensor, count: int, seed: int) -> Tensor:
    """Centres [count, dimensions], of each kind as many as its share; of rare ones perhaps none."""
    shares = torch.bincount(kinds).double() / len(kinds)
    each = torch.where(shares > 0, 1, 0)
    for _ in range(count - int(each.sum())):
        each[(shares / (each + 0.5)).argmax()] += 1
    for kind in shares.argsort(stable=True).tolist():
        if each.sum() > count:
            each[kind] = 0
    return torch.cat(
        [
            k_means(vectors[kinds == kind], wanted, seed + kind)
            for kind, wanted in enumerate(each.tolist())
            if wanted
        ]
    )


def by_rarity(centres: Tensor, vectors: Tensor) -> Tensor:
    """The centres in ascending order of how many vectors are theirs."""
    sizes = torch.bincount(nearest(vectors, centres), minlength=len(centres))
    return centres[sizes.argsort(stable=True)]


def nearest(vectors: Tensor, centres: Tensor) -> Tensor:
    """The index of the nearest centre of each vector, int64 [n]."""
    return torch.cat([torch.cdist(v, centres).argmin(dim=1) for v in vectors.split(_AT_ONCE)])
