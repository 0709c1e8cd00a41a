"""An adversary, which tells a codec's sound from what it should have been, and so is learned from.

Distances between spectra are smallest for the mean of all that would sound right, and a mean of
voices buzzes. An adversary looks at short times and narrow bands, at two resolutions, and knows
what a voice looks like there. The decoder learns to be taken for one, and, more steadily, to be
looked at in the same way as what was wanted (feature matching, as in MelGAN and EnCodec).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from scripts.mini_training.codec.model import FRAME_SAMPLES

_WINDOWS = (1024, 256)
_CHANNELS = 16
_LEARNS_FRAMES = 12  # of each clip, as it costs as much as the decoder
_RATE, _BETAS = 5e-4, (0.8, 0.99)
_FLOOR = 1e-4

Features = list[Tensor]


class _Look(nn.Module):
    """How real a spectrum looks, piece by piece."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self._samples = samples
        self.register_buffer("window", torch.hann_window(samples), persistent=False)
        # Along time the first look is at one moment, the later ones at more and more; of the
        # frequencies each leaves half.
        self.layers = nn.ModuleList(
            weight_norm(
                nn.Conv2d(
                    _CHANNELS if spread else 3,
                    _CHANNELS,
                    (3, 9),
                    stride=(1, 2),
                    dilation=(max(spread, 1), 1),
                    padding=(max(spread, 1), 4),
                )
            )
            for spread in (0, 1, 2, 4)
        )
        self.verdict = weight_norm(nn.Conv2d(_CHANNELS, 1, 3, padding=1))

    def forward(self, audio: Tensor) -> tuple[Tensor, Features]:
        """Of [clips, samples]: verdicts, above 0 for real, and what they rest on."""
        window = self.get_buffer("window")
        spectrum = torch.stft(
            audio, self._samples, self._samples // 4, window=window, return_complex=True
        )
        parts = torch.view_as_real(spectrum) * (2 / window.sum())
        power = parts.square().sum(dim=-1, keepdim=True)
        level = (power + _FLOOR**2).log() / 2
        # The phase is seen as it is, of whatever is not silent; the level in its logarithm.
        seen = torch.cat([parts / (power + _FLOOR**2).sqrt(), level + 5.0], dim=-1)
        found = seen.permute(0, 3, 2, 1)
        features: Features = []
        for layer in self.layers:
            found = nn.functional.leaky_relu(layer(found), 0.2)
            features.append(found)
        return self.verdict(found), features


class Adversary(nn.Module):
    """Learns beside a decoder, a step each time that it is asked."""

    def __init__(self) -> None:
        """Makes one that knows nothing."""
        super().__init__()
        self.looks = nn.ModuleList(_Look(samples) for samples in _WINDOWS)
        self._optimizer = torch.optim.AdamW(self.parameters(), lr=_RATE, betas=_BETAS)

    def state(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {"model": self.state_dict(), "optimizer": self._optimizer.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        self.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def learn(self, made: Tensor, wanted: Tensor) -> float:
        """Learns to tell two sounds apart, [clips, samples] each, by hinges; returns its loss."""
        self.requires_grad_(True)
        losses = []
        for look in self.looks:
            (false, _), (true, _) = look(made.detach()), look(wanted)
            losses.append((1 + false).relu().mean() + (1 - true).relu().mean())
        loss = torch.stack(losses).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        if torch.isfinite(norm):
            self._optimizer.step()
        self.requires_grad_(False)
        return loss.item()

    def judge(self, made: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """How far a sound is from being taken for real, and from being seen as the wanted one.

        Args:
            made: [clips, samples], which the gradient goes to.
            wanted: The same of what it should be.
        """
        fooled, seen = [], []
        for look in self.looks:
            verdict, features = look(made)
            with torch.no_grad():
                _, others = look(wanted)
            fooled.append(-verdict.mean())
            seen.append(_apart(features, others))
        return torch.stack(fooled).mean(), torch.stack(seen).mean()


def piece(step: int, frames: int) -> slice:
    """The samples of clips of so many frames that an adversary is shown at a step."""
    shown = min(_LEARNS_FRAMES, frames)
    first = step * 5 % (frames - shown + 1)
    return slice(first * FRAME_SAMPLES, (first + shown) * FRAME_SAMPLES)


def together(audio: Tensor, ruling: Tensor, others: Sequence[tuple[float, Tensor]]) -> Tensor:
    """A loss whose gradient for a sound has parts of given sizes, as EnCodec's balancer has it.

    Args:
        audio: The sound, with the graph that made it.
        ruling: The gradient of what rules for it, of its shape.
        others: How large each other gradient is to be beside that, and the gradient.
    """
    size = ruling.norm()
    for share, gradient in others:
        ruling = ruling + share * size / gradient.norm().clamp(min=1e-12) * gradient
    return (audio * ruling.detach()).sum()


def _apart(ours: Features, theirs: Features) -> Tensor:
    """Relative to how large the features are: an adversary's own scale means nothing."""
    apart = [
        (one - other).abs().mean() / other.abs().mean().clamp(min=1e-5)
        for one, other in zip(ours, theirs, strict=True)
    ]
    return torch.stack(apart).mean()
