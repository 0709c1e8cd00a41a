"""CSM: a backbone that reads the conversation, a depth decoder that writes each frame, a codec.

Sesame's `models.py` and transformers' `CsmForConditionalGeneration` are the reference.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import Tensor, nn

from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.mimi import Mimi
from pipecat_csm.model.sampling import Draw
from pipecat_csm.model.transformer import KVCache, Transformer

# Logits [batch, codes] and the codebook they are for, to codes [batch].
Sampler = Callable[[Tensor, int], Tensor]


class CSMModel(nn.Module):
    """The weights, and the pure functions of them; it holds no state.

    Build it on the meta device, load its parameters, then call `finish`.
    """

    depth_inputs: Tensor
    whole_frame: nn.Module | None
    """Makes all codes of a frame in one call, where there is something that can."""

    def __init__(self, config: CSMConfig) -> None:
        """Makes empty weights of the config's shapes."""
        super().__init__()
        self.whole_frame = None
        self.config = config
        width, depth_width = config.backbone.hidden_size, config.depth.hidden_size
        self.text_embeddings = nn.Embedding(config.text_vocab_size, width)
        self.audio_embeddings = nn.Embedding(config.codebooks * config.audio_vocab_size, width)
        self.backbone = Transformer(config.backbone)
        self.codebook0_head = nn.Linear(width, config.audio_vocab_size, bias=False)
        self.projection = nn.Linear(width, depth_width, bias=False)
        self.depth = Transformer(config.depth)
        self.depth_heads = DepthHeads(config)
        self.mimi = Mimi(config.codec)

    @torch.no_grad()
    def finish(self) -> None:
        """Makes what is derived from the weights: tables of angles, and the depth inputs.

        Projecting every audio embedding once saves the depth decoder a matrix per code.
        """
        self.backbone.finish()
        self.depth.finish()
        self.mimi.finish()
        config, table = self.config, self.audio_embeddings.weight
        rows = (config.codebooks - 1) * config.audio_vocab_size
        projected = torch.empty(
            rows, config.depth.hidden_size, device=table.device, dtype=table.dtype
        )
        for part in torch.arange(rows).split(8192):
            begin, end = int(part[0]), int(part[-1]) + 1
            projected[begin:end] = self.projection(table[begin:end])
        self.register_buffer("depth_inputs", projected, persistent=False)

    def embed_rows(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The backbone's input for rows of a prompt.

        Args:
            tokens: [batch, time, codebooks + 1] int64; the last column is text.
            mask: The same shape, bool; what it hides counts nothing.

        Returns:
            [batch, time, hidden]: the sum of each row's embeddings.
        """
        audio = F.embedding(self._rows_of(tokens[..., :-1]), self.audio_embeddings.weight)
        text = self.text_embeddings(tokens[..., -1:])
        parts = torch.cat((audio, text), dim=-2)
        return (parts * mask.unsqueeze(-1)).sum(-2)

    def embed_codes(self, codes: Tensor) -> Tensor:
        """The backbone's input for frames: codes [batch, codebooks] to [batch, hidden]."""
        return F.embedding(self._rows_of(codes), self.audio_embeddings.weight).sum(-2)

    def codes_of_frame(self, hidden: Tensor, cache: KVCache, sampler: Sampler) -> Tensor:
        """The codes of one frame, the first from the backbone and each other from those before.

        Args:
            hidden: [batch, hidden], what the backbone made of everything until now.
            cache: The depth decoder's, of `batch` slots; it starts anew with each frame, since
                nothing is read before it has been written.
            sampler: Chooses a code; it gets the logits of legal codes only.

        Returns:
            [batch, codebooks] int64.
        """
        if self.whole_frame is not None and isinstance(sampler, Draw):
            return self.whole_frame(hidden, cache, sampler)
        codes = [*self.first_codes(hidden, cache, sampler)]
        for codebook in range(2, self.config.codebooks):
            codes.append(self.next_code(codes[-1], codebook, cache, sampler))
        return torch.stack(codes, dim=-1)

    def first_codes(self, hidden: Tensor, cache: KVCache, sampler: Sampler) -> list[Tensor]:
        """The codes [batch] of the first two codebooks."""
        code = sampler(self._legal(self.codebook0_head(hidden)), 0)
        rows = torch.stack((self.projection(hidden), self.depth_inputs[code]), dim=1)
        state = self.depth.in_step(rows, cache, 0)
        return [code, sampler(self._legal(self.depth_heads(state, 1)), 1)]

    def next_code(self, code: Tensor, codebook: int, cache: KVCache, sampler: Sampler) -> Tensor:
        """The code [batch] of a codebook, 2 or later, from that of the one before it.

        The same for all of them, so that a compiler builds it once.
        """
        row = self.depth_inputs[code + (codebook - 1) * self.config.audio_vocab_size]
        state = self.depth.in_step(row[:, None], cache, codebook)
        return sampler(self._legal(self.depth_heads(state, codebook)), codebook)

    def _legal(self, logits: Tensor) -> Tensor:
        return logits[:, : self.config.codec.codebook_size]

    def _rows_of(self, codes: Tensor) -> Tensor:
        first = torch.arange(self.config.codebooks, device=codes.device)
        return codes + first * self.config.audio_vocab_size


class DepthHeads(nn.Module):
    """One output matrix for each codebook but the first."""

    def __init__(self, config: CSMConfig) -> None:
        """Makes empty weights."""
        super().__init__()
        shape = (config.codebooks - 1, config.depth.hidden_size, config.audio_vocab_size)
        self.weight = nn.Parameter(torch.empty(shape))

    def forward(self, state: Tensor, codebook: int) -> Tensor:
        """Logits [batch, audio_vocab] of a codebook, 1 or later, from state [batch, hidden]."""
        return state @ self.weight[codebook - 1]
