"""A Mimi of transformers' while it learns, with what is only there for that.

Mimi's quantiser is split: the first codebook and the others each have a projection of their own
from the one latent, and one back, and what they give is added. While it learns, there is no
quantiser: the two projections are joined by noise in proportion to the spread of each dimension.
That is what a quantiser will do later, it cannot be outgrown by larger numbers, and it keeps what
does not matter out of the bottleneck, where k-means would spend codes on it.

The first projection gets no gradient from the sound. It learns from one thing alone, a linear
reading of the phonemes (see `phones`), so that its clusters are kinds of phonemes in sequence, in
every voice: what the backbone of a CSM has to say, while the depth decoder says how it sounds.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MimiConfig, MimiModel

from scripts.mini_training.codec.phones import PHONES, POINTS
from scripts.mini_training.settings import CodecSize

FRAME_SAMPLES = 1_920
_NOISE = 0.15
_LAYER_SCALE = 0.1  # Mimi's 0.01 takes longer to wake its transformers than there is time here


@dataclass(frozen=True)
class Coded:
    """What a clip became.

    Attributes:
        audio: [clips, samples].
        phones: Logits [clips, frames, POINTS, len(PHONES)].
        spread: How far the bottleneck's scale is from 1, to be kept small.
    """

    audio: Tensor
    phones: Tensor
    spread: Tensor


def mimi_config(size: CodecSize) -> MimiConfig:
    """The shape of a codec: Mimi's own strides, convolutions and frame rate, fewer of all else."""
    heads = max(1, size.hidden // 64)
    return MimiConfig(
        num_filters=size.filters,
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        codebook_dim=size.bottleneck,
        vector_quantization_hidden_dimension=size.bottleneck,
        upsample_groups=size.hidden,
        num_quantizers=size.books,
        codebook_size=size.book_size,
        sliding_window=size.window,
        layer_scale_initial_scale=_LAYER_SCALE,
    )


class LearningCodec(nn.Module):
    """A Mimi, and a reader of phonemes beside it."""

    def __init__(self, size: CodecSize) -> None:
        """Makes one with random weights."""
        super().__init__()
        self.mimi: Any = MimiModel(mimi_config(size))
        self.reader = nn.Linear(size.bottleneck, POINTS * len(PHONES))
        self.quantised = False

    @property
    def semantic(self) -> Any:
        """The first codebook's side of the quantiser."""
        return self.mimi.quantizer.semantic_residual_vector_quantizer

    @property
    def acoustic(self) -> Any:
        """The other codebooks' side."""
        return self.mimi.quantizer.acoustic_residual_vector_quantizer

    def latents(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """What is quantised, of either side: [clips, bottleneck, frames].

        Args:
            audio: [clips, samples], in whole frames.
        """
        latents = self.mimi.encoder(audio[:, None]).latents
        return self.semantic.input_proj(latents), self.acoustic.input_proj(latents)

    def forward(self, audio: Tensor) -> Coded:
        """Through the bottleneck and back; through the codebooks once there are any."""
        if self.quantised:
            return self._through_codes(audio)
        semantic, acoustic = self.latents(audio)
        heard = _noisy(semantic, self.training)
        found = self.semantic.output_proj(heard.detach())
        found = found + self.acoustic.output_proj(_noisy(acoustic, self.training))
        scale = torch.stack([_spread(semantic), _spread(acoustic)])
        return Coded(
            self.mimi.decoder(found).audio_values[:, 0],
            self.read(heard),
            scale.log().square().mean(),
        )

    @torch.no_grad()
    def settle(self, audio: Tensor) -> None:
        """Scales random weights so that every stage begins at the level that it will have.

        Mimi's convolutions amplify at first, a hundred times by the end: the transformers would
        add nothing that is heard beside such a stream, and the first minutes would go to silence.

        Args:
            audio: Some clips, [clips, samples].
        """
        mimi = self.mimi
        levels: tuple[tuple[Any, float], ...] = (
            (mimi.encoder.encoder_seanet.layers[-1].conv, 1.0),
            (self.semantic.input_proj, 1.0),
            (self.acoustic.input_proj, 1.0),
            (self.semantic.output_proj, 0.7),
            (self.acoustic.output_proj, 0.7),
            (mimi.decoder.upsample.conv, 1.0),
            (mimi.decoder.decoder_seanet.layers[-1].conv, float(audio.std())),
        )
        for module, level in levels:
            found: list[Tensor] = []
            hook = module.register_forward_hook(lambda *args, found=found: found.append(args[-1]))
            self(audio)
            hook.remove()
            scale = level / found[0].std().clamp(min=1e-8)
            for parameter in module.parameters():
                parameter.mul_(scale)

    def read(self, semantic: Tensor) -> Tensor:
        """Phonemes from what the first codebook says, [clips, bottleneck, frames]."""
        logits = self.reader(semantic.transpose(1, 2))
        return logits.unflatten(-1, (POINTS, len(PHONES)))

    def _through_codes(self, audio: Tensor) -> Coded:
        with torch.no_grad():
            codes = self.mimi.encode(audio[:, None]).audio_codes
            semantic = self.semantic.layers[0].decode(codes[:, 0])
        found = self.mimi.quantizer.decode(codes)
        audio = self.mimi.decoder(found).audio_values[:, 0]
        return Coded(audio, self.read(semantic), audio.new_zeros(()))

    def tune(self) -> None:
        """From now on goes through the codes, and only what comes after them learns."""
        self.quantised = True
        self.requires_grad_(False)
        for module in (self.mimi.decoder, self.semantic.output_proj, self.acoustic.output_proj):
            module.requires_grad_(True)
        self.reader.requires_grad_(True)
        self.forget_tables()

    def forget_tables(self) -> None:
        """Drops the codebooks that transformers has computed from sums and counts, and keeps."""
        for module in self.mimi.modules():
            if hasattr(module, "_embed"):
                module._embed = None


def _spread(latents: Tensor) -> Tensor:
    return latents.std(dim=(0, 2)).mean().clamp(min=1e-5)


def _noisy(latents: Tensor, training: bool) -> Tensor:
    if not training:
        return latents
    spread = latents.detach().std(dim=(0, 2), keepdim=True)
    return latents + _NOISE * spread * torch.randn_like(latents)
