"""Mimi: sound to codes and codes to sound, in steps, with the memory of the streams passed in."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pipecat_csm.errors import AudioError
from pipecat_csm.model.config import MimiConfig
from pipecat_csm.model.mimi import seanet
from pipecat_csm.model.mimi.conv import ReplicatingConv1d, StreamingConvTranspose1d
from pipecat_csm.model.mimi.project import Finished
from pipecat_csm.model.mimi.quantizer import SplitQuantizer
from pipecat_csm.model.mimi.state import DecodeState, EncodeState
from pipecat_csm.model.mimi.transformer import Transformer

_POSITIONS = 2  # of the transformers (25 Hz) per frame (12.5 Hz)
_ENCODE_FRAMES = 32  # that go through the encoder's transformer at once


class Mimi(nn.Module):
    """Kyutai's Mimi (arXiv 2410.00037), equal to transformers' `MimiModel`, with its names.

    It has weights only. After they are loaded, and after a change of their dtype or device, call
    `finish()`. All methods run without gradients.

    Args:
        config: The shape. Build on the meta device to look at names and shapes only.
    """

    whole_decoder: nn.Module | None
    """Decodes a step in one call, where there is something that can."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.config = config
        self.whole_decoder = None
        self.encoder = seanet.encoder(config)
        self.encoder_transformer = Transformer(config, _POSITIONS * _ENCODE_FRAMES)
        self.downsample = ReplicatingConv1d(
            hidden, hidden, 2 * _POSITIONS, stride=_POSITIONS, bias=False
        )
        self.quantizer = SplitQuantizer(config)
        self.upsample = StreamingConvTranspose1d(
            hidden, hidden, _POSITIONS, groups=config.upsample_groups, bias=False
        )
        self.decoder_transformer = Transformer(config, _POSITIONS)
        self.decoder = seanet.decoder(config)

    @torch.no_grad()
    def finish(self) -> None:
        """Computes what follows from the weights: codebook tables, fused projections, RoPE."""
        for module in self.modules():
            if isinstance(module, Finished):
                module.finish()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.upsample.conv.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' type."""
        return self.upsample.conv.weight.dtype

    def decode_state(
        self, batch: int, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> DecodeState:
        """The memory of `batch` streams of codes, none of which has begun."""
        where = device or self.device, dtype or self.dtype
        return DecodeState(
            torch.zeros(batch, dtype=torch.int64, device=where[0]),
            (*self.upsample.tails(batch, *where), *self.decoder.tails(batch, *where)),
            tuple(self.decoder_transformer.caches(batch, *where)),
        )

    @torch.no_grad()
    def decode_step(self, codes: Tensor, state: DecodeState, *, active: Tensor) -> Tensor:
        """The sound of one more frame of every stream.

        Args:
            codes: int64 [batch, codebooks], each below `codebook_size`. Where a stream rests they
                may be anything.
            state: Changed in place, at the addresses it has.
            active: bool [batch]. Where false, the stream rests: its state stays as it is (but for
                the scratch position), its sound means nothing.

        Returns:
            [batch, frame_samples] at 24 kHz, in the weights' dtype.
        """
        if self.whole_decoder is not None:
            sound = self.whole_decoder(codes, state, active)
            state.steps.add_(active)
            return sound
        tails = iter(state.tails)
        x = self.quantizer.decode(torch.where(active[:, None], codes, 0))
        x = self.upsample.step(x[:, :, None], tails, active)
        start = state.steps * _POSITIONS
        x = self.decoder_transformer(x.transpose(1, 2), start, state.caches, active)
        x = self.decoder.step(x.transpose(1, 2), tails, active)
        state.steps.add_(active)
        return x[:, 0]

    def encode_state(
        self, batch: int, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> EncodeState:
        """The memory of `batch` streams of sound, none of which has begun."""
        where = device or self.device, dtype or self.dtype
        return EncodeState(
            torch.zeros(batch, dtype=torch.int64, device=where[0]),
            tuple(chain(self.encoder.tails(batch, *where), self.downsample.tails(batch, *where))),
            tuple(self.encoder_transformer.caches(batch, *where)),
        )

    @torch.no_grad()
    def encode_step(self, audio: Tensor, state: EncodeState) -> Tensor:
        """The codes of the next k frames of every stream, for any k of at least 1.

        Args:
            audio: [batch, k * frame_samples] at 24 kHz, mono.
            state: Changed in place.

        Returns:
            int64 [batch, codebooks, k].

        Raises:
            AudioError: The samples are no whole number of frames.
        """
        frames, rest = divmod(audio.shape[-1], self.config.frame_samples)
        if rest or not frames:
            raise AudioError(
                f"Mimi encodes whole frames of {self.config.frame_samples} samples; "
                f"it was given {audio.shape[-1]}."
            )
        tails = iter(state.tails)
        x = self.encoder.step(audio[:, None].to(self.dtype), tails, None).transpose(1, 2)
        start, pieces = state.steps * _POSITIONS, []
        for piece in x.split(self.encoder_transformer.longest, dim=1):
            pieces.append(self.encoder_transformer(piece, start, state.caches, None))
            start = start + piece.shape[1]
        x = torch.cat(pieces, dim=1).transpose(1, 2)
        x = self.downsample.begin(x, tails, state.steps == 0)
        state.steps.add_(frames)
        return self.quantizer.encode(x.transpose(1, 2))

    def reset(self, state: DecodeState | EncodeState, mask: Tensor) -> None:
        """Begins the streams anew where `mask` (bool [batch]) is true, without a wait."""
        state.reset(mask)

    def encode(self, audio: Tensor) -> Tensor:
        """The codes [codebooks, frames] of a whole clip [samples], zero-padded to whole frames.

        Raises:
            AudioError: The clip is empty, or not of one dimension.
        """
        if audio.dim() != 1 or not audio.numel():
            raise AudioError(f"Mimi encodes mono samples in one row, not {tuple(audio.shape)}.")
        samples = self.config.frame_samples
        audio = pad(audio, (0, -len(audio) % samples)).to(self.device)
        state = self.encode_state(1)
        pieces = audio[None].split(_ENCODE_FRAMES * samples, dim=1)
        return torch.cat([self.encode_step(piece, state) for piece in pieces], dim=2)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """The sound [samples] of a whole clip's codes [codebooks, frames]."""
        state = self.decode_state(1)
        active = torch.ones(1, dtype=torch.bool, device=self.device)
        frames = codes.to(self.device).T[:, None].unbind()
        empty = torch.empty(0, device=self.device, dtype=self.dtype)
        sound = [self.decode_step(frame, state, active=active)[0] for frame in frames]
        return torch.cat([empty, *sound])
