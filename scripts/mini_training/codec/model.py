"""A Mimi of transformers' while it learns, with what is only there for that.

Mimi's quantiser is split: the first codebook and the others each have a projection of their own
from the one latent, and one back, and what they give is added. For the most of its time there is no
quantiser: the two projections are joined by noise in proportion to the spread of each dimension.
That is what a quantiser will do later, it cannot be outgrown by larger numbers, and it keeps what
does not matter out of the bottleneck, where k-means would spend codes on it. Then there are codes,
and all learns together (see `quantising`).

The first projection gets no gradient from the sound. It learns from one thing alone, a linear
reading of the phonemes (see `phones`), so that its clusters are kinds of phonemes in sequence, in
every voice: what the backbone of a CSM has to say, while the depth decoder says how it sounds.
The other projection says the pitch outright: a dimension of its own stands for each number of
cycles (see `in_step`), and before the decoder sees them the largest is made certain and the others
nought. While it learns it is told the true number instead, so it has nothing to hedge about: of two
likely pitches the sound that is nearest to both has no partials at all. The first codebook of this
side holds all of these numbers, each in several colours.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MimiConfig, MimiModel

from scripts.mini_training.codec.phones import PHONES, POINTS
from scripts.mini_training.codec.quantising import fix, loosen, quantised
from scripts.mini_training.codec.start import as_cosine_transform
from scripts.mini_training.settings import CodecSize

FRAME_SAMPLES = 1_920
MOST_CYCLES = 35
"""Of a voice in a frame: 437 Hz."""

_NUMBERS = MOST_CYCLES + 1
_CERTAIN = 10.0  # beside all else, whose spread is 1: no code is nearer that has other cycles
_NOISE = 0.15
_TO_CODES = 2.5
_LAYER_SCALE = 0.1  # Mimi's 0.01 takes longer to wake its transformers than there is time here


@dataclass(frozen=True)
class Coded:
    """What a clip became.

    Attributes:
        audio: [clips, samples].
        phones: Logits [clips, frames, POINTS, len(PHONES)].
        cycles: Logits [clips, frames, MOST_CYCLES + 1].
        strays: How far the bottleneck's scale is from 1, and later the latents from their codes, to
            be kept small.
    """

    audio: Tensor
    phones: Tensor
    cycles: Tensor
    strays: Tensor


def mimi_config(size: CodecSize) -> MimiConfig:
    """The shape of a codec: Mimi's own strides, convolutions and frame rate, fewer of all else."""
    heads = max(1, size.hidden // 64)
    return MimiConfig(
        num_filters=size.filters,
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
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
        self.quantised = self.codes_are_fixed = False

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

    def forward(self, audio: Tensor, cycles: Tensor | None = None) -> Coded:
        """Through the bottleneck and back; through the codebooks once there are any.

        Args:
            audio: [clips, samples], in whole frames.
            cycles: int64 [clips, frames], the true ones, for a decoder that learns; without them
                it gets those that the encoder hears.
        """
        semantic, acoustic = self.latents(audio)
        heard = self._bottleneck(self.semantic, semantic)
        # To codebooks all is certain, as they hold nothing else.
        settled = self.quantised and cycles is None
        certain = acoustic if settled else with_cycles(acoustic, cycles)
        sounding = self._bottleneck(self.acoustic, certain)
        found = self.semantic.output_proj(heard.detach()) + self.acoustic.output_proj(sounding)
        scale = torch.stack([_spread(semantic), _spread(acoustic[:, _NUMBERS:])])
        strays = scale.log().square().mean()
        if self.quantised:
            colours = _apart(certain[:, _NUMBERS:], sounding[:, _NUMBERS:])
            strays = strays + _TO_CODES * (_apart(semantic, heard) + colours)
        return Coded(
            self.mimi.decoder(found).audio_values[:, 0],
            self.read(heard),
            acoustic[:, :_NUMBERS].transpose(1, 2),
            strays,
        )

    def _bottleneck(self, side: Any, latents: Tensor) -> Tensor:
        if self.quantised:
            chosen = quantised(side, latents, self.training and not self.codes_are_fixed)
            return latents + (chosen - latents).detach()  # for the gradient the codes are exact
        return _noisy(latents) if self.training else latents

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
        found: list[Tensor] = []
        for module, level in levels:
            found.clear()
            hook = module.register_forward_hook(lambda *args: found.append(args[-1]))
            self(audio)
            hook.remove()
            scale = level / found[0].std().clamp(min=1e-8)
            for parameter in module.parameters():
                parameter.mul_(scale)
        net = mimi.decoder.decoder_seanet
        hook = net.register_forward_hook(lambda *args: found.append(args[1][0]))
        self(audio)
        hook.remove()
        as_cosine_transform(net, found[-1])

    def read(self, semantic: Tensor) -> Tensor:
        """Phonemes from what the first codebook says, [clips, bottleneck, frames]."""
        logits = self.reader(semantic.transpose(1, 2))
        return logits.unflatten(-1, (POINTS, len(PHONES)))

    def quantise(self) -> None:
        """From now on goes through the codebooks, which learn with the rest."""
        self.quantised = True
        for side in (self.semantic, self.acoustic):
            loosen(side)

    def fix_codes(self) -> None:
        """Ends that: the codebooks are as they will be exported."""
        for side in (self.semantic, self.acoustic):
            fix(side)

    def tune(self) -> None:
        """From now on no code changes, and only what comes after the codes learns."""
        self.quantised = self.codes_are_fixed = True
        self.requires_grad_(False)
        after = self.mimi.decoder, self.semantic.output_proj, self.acoustic.output_proj
        for module in (*after, self.reader):
            module.requires_grad_(True)


def with_cycles(acoustic: Tensor, cycles: Tensor | None = None) -> Tensor:
    """What the acoustic side says, and of the cycles nothing but one number.

    Args:
        acoustic: [clips, bottleneck, frames].
        cycles: int64 [clips, frames]; without them, those that are told loudest.

    Returns:
        The same shape.
    """
    if cycles is None:
        cycles = acoustic[:, :_NUMBERS].argmax(dim=1)
    told = nn.functional.one_hot(cycles, _NUMBERS).transpose(1, 2)
    return torch.cat([_CERTAIN * told.to(acoustic.dtype), acoustic[:, _NUMBERS:]], dim=1)


def _spread(latents: Tensor) -> Tensor:
    return latents.std(dim=(0, 2)).mean().clamp(min=1e-5)


def _apart(latents: Tensor, codes: Tensor) -> Tensor:
    return (latents - codes.detach()).square().mean()


def _noisy(latents: Tensor) -> Tensor:
    spread = latents.detach().std(dim=(0, 2), keepdim=True)
    return latents + _NOISE * spread * torch.randn_like(latents)
