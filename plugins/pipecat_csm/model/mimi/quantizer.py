"""The split residual vector quantizer: hidden states at 12.5 Hz to codes, and back."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from pipecat_csm.model.config import MimiConfig
from pipecat_csm.model.mimi.project import Finished, project

_LEAST_USAGE = 1e-5


class Codebook(nn.Module):
    """What training left: the sum of the vectors that chose each code, and how many they were."""

    embed_sum: Tensor
    cluster_usage: Tensor

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        size, dim = config.codebook_size, config.codebook_dim
        self.register_buffer("cluster_usage", torch.empty(size))
        self.register_buffer("embed_sum", torch.empty(size, dim))

    def vectors(self) -> Tensor:
        """The vector of each code, [size, dim]."""
        return self.embed_sum / self.cluster_usage.clamp(min=_LEAST_USAGE)[:, None]


class Quantizer(nn.Module):
    """Holds a codebook under the name that the files have for it."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.codebook = Codebook(config)


class ResidualQuantizer(nn.Module):
    """Codebooks each of which describes what those before it left over."""

    def __init__(self, config: MimiConfig, codebooks: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Quantizer(config) for _ in range(codebooks)])
        inner, outer = config.vector_quantization_hidden_dimension, config.hidden_size
        self.input_proj = self.output_proj = None
        if inner != outer:
            self.input_proj = nn.Conv1d(outer, inner, 1, bias=False)
            self.output_proj = nn.Conv1d(inner, outer, 1, bias=False)

    def vectors(self) -> Iterable[Tensor]:
        """The vectors of each codebook."""
        return (cast("Quantizer", layer).codebook.vectors() for layer in self.layers)

    def encode(self, x: Tensor, table: Tensor, norms: Tensor) -> list[Tensor]:
        """The codes of `x` [n, hidden], one tensor [n] a codebook; see `SplitQuantizer`."""
        if self.input_proj is not None:
            x = project(x, self.input_proj.weight[..., 0])
        codes = []
        for vectors, norm in zip(table, norms, strict=True):
            # |x - v|^2 without |x|^2, which is the same for all v; bfloat16 would blur neighbours.
            wide = torch.promote_types(x.dtype, torch.float32)
            best = (norm - 2 * project(x.to(wide), vectors.to(wide))).argmin(-1)
            x = x - vectors[best]
            codes.append(best)
        return codes


class SplitQuantizer(Finished):
    """A semantic and an acoustic quantizer beside each other.

    Attributes:
        table: The vectors of all codebooks, [codebooks, size, dim].
        norms: Their squared lengths, [codebooks, size], at least float32.
        projection: Both output projections beside each other, [hidden, 2 * dim], or None.
    """

    table: Tensor
    norms: Tensor
    projection: Tensor | None

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.semantic = semantic = config.num_semantic_quantizers
        acoustic = config.num_quantizers - semantic
        self.semantic_residual_vector_quantizer = ResidualQuantizer(config, semantic)
        self.acoustic_residual_vector_quantizer = ResidualQuantizer(config, acoustic)
        for name in ("table", "norms", "projection"):
            self.register_buffer(name, None, persistent=False)

    def finish(self) -> None:
        """Computes the tables from what is in the file."""
        parts = self.semantic_residual_vector_quantizer, self.acoustic_residual_vector_quantizer
        self.table = torch.stack([vectors for part in parts for vectors in part.vectors()])
        wide = torch.promote_types(self.table.dtype, torch.float32)
        self.norms = torch.stack([vectors.to(wide).square().sum(-1) for vectors in self.table])
        out = [part.output_proj for part in parts]
        self.projection = None
        if out[0] is not None and out[1] is not None:
            self.projection = torch.cat([conv.weight.detach()[..., 0] for conv in out if conv], 1)

    def encode(self, x: Tensor) -> Tensor:
        """Codes [batch, codebooks, time], int64, of hidden states [batch, time, hidden]."""
        batch, time, _ = x.shape
        x, split = x.reshape(batch * time, -1), self.semantic
        codes = [
            *self.semantic_residual_vector_quantizer.encode(
                x, self.table[:split], self.norms[:split]
            ),
            *self.acoustic_residual_vector_quantizer.encode(
                x, self.table[split:], self.norms[split:]
            ),
        ]
        return torch.stack(codes).view(-1, batch, time).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Hidden states [batch, hidden] of one frame of codes [batch, codebooks]."""
        codebooks = torch.arange(codes.shape[1], device=codes.device)
        vectors = self.table[codebooks, codes]
        if self.projection is None:
            return vectors.sum(1)
        semantic, acoustic = vectors[:, : self.semantic], vectors[:, self.semantic :]
        return project(torch.cat((semantic.sum(1), acoustic.sum(1)), dim=-1), self.projection)
