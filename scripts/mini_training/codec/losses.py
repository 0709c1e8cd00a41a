"""How far two sounds are apart.

For an ear: magnitudes of spectra. The logarithm of mel bands at four resolutions says what is
heard; the plain magnitudes, which loud partials rule, keep voices harmonic. And in phase: what is
voiced is wanted at phases that can be known (see `in_step`), and asking for these, not only for
magnitudes, is what teaches a decoder to hold a pitch. High partials and noise are left to the ear.
"""

import math

import torch
import torchaudio
from torch import Tensor, nn

_RATE_HZ = 24_000
_RESOLUTIONS = ((2048, 80), (1024, 64), (512, 40), (256, 20))
_FLOOR = 1e-4
_LINEAR_WEIGHT = 0.5
_PHASE_WINDOWS = (1024, 512)
_PHASES_BELOW_HZ = 1_600


class SpectralLoss(nn.Module):
    """The distance, on whatever device the module is."""

    def __init__(self) -> None:
        """Makes windows and mel filters."""
        super().__init__()
        for index, (samples, mels) in enumerate(_RESOLUTIONS):
            filters = torchaudio.functional.melscale_fbanks(
                samples // 2 + 1, 0.0, _RATE_HZ / 2, mels, _RATE_HZ, norm="slaney"
            )
            # In the units of magnitudes, whatever the width of a band.
            filters = filters / filters.sum(dim=0, keepdim=True).clamp(min=1e-8)
            self.register_buffer(f"window_{index}", torch.hann_window(samples), persistent=False)
            self.register_buffer(f"filters_{index}", filters, persistent=False)

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Of two batches of [clips, samples]; 0 if they are the same."""
        total = made.new_zeros(())
        for index in range(len(_RESOLUTIONS)):
            ours, theirs = self._magnitudes(made, index), self._magnitudes(wanted, index)
            filters = self.get_buffer(f"filters_{index}")
            mels = [(one.transpose(1, 2) @ filters + _FLOOR).log() for one in (ours, theirs)]
            total = total + (mels[0] - mels[1]).abs().mean()
            apart = torch.linalg.vector_norm(ours - theirs, dim=(1, 2))
            size = torch.linalg.vector_norm(theirs, dim=(1, 2))
            # A clip of silence has no size to compare with.
            total = total + _LINEAR_WEIGHT * (apart / (size + 0.1 * size.mean() + 1e-3)).mean()
        return total / len(_RESOLUTIONS)

    def _magnitudes(self, audio: Tensor, index: int) -> Tensor:
        samples, _ = _RESOLUTIONS[index]
        window = self.get_buffer(f"window_{index}")
        spectrum = torch.stft(audio, samples, samples // 4, window=window, return_complex=True)
        # abs() has no gradient at 0; and of a full-scale sine this makes 1.
        power = torch.view_as_real(spectrum).square().sum(dim=-1)
        return (power + 1e-9).sqrt() * 2 / window.sum()


class PhaseLoss(nn.Module):
    """How far the low parts of two sounds are apart, phases included: 1 for silence."""

    def __init__(self) -> None:
        """Makes windows."""
        super().__init__()
        for samples in _PHASE_WINDOWS:
            self.register_buffer(f"window_{samples}", torch.hann_window(samples), persistent=False)

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Of two batches of [clips, samples]."""
        total = made.new_zeros(())
        for samples in _PHASE_WINDOWS:
            window = self.get_buffer(f"window_{samples}")
            lowest = math.ceil(_PHASES_BELOW_HZ * samples / _RATE_HZ)
            ours, theirs = (
                torch.view_as_real(
                    torch.stft(one, samples, samples // 4, window=window, return_complex=True)
                )[:, 1:lowest]
                * (2 / window.sum())
                for one in (made, wanted)
            )
            apart = torch.linalg.vector_norm(ours - theirs, dim=(1, 2, 3))
            size = torch.linalg.vector_norm(theirs, dim=(1, 2, 3))
            total = total + (apart / (size + 0.02)).mean()
        return total / len(_PHASE_WINDOWS)
