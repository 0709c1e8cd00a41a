"""Sampling on the device: temperature, top-k, min-p, and noise that only counters decide.

The noise of a code is a function of (session's seed, Segment, frame, codebook, code): a session
says the same whatever runs beside it, in whatever batch, and after whatever was withdrawn.
"""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import torch
from torch import Tensor

from pipecat_csm.checks import check_number

# Beyond them nothing changes any more.
MAX_TEMPERATURE = 1_000
MAX_TOP_K = 1_000_000

_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class SamplingOptions:
    """How a Segment is sampled; Sesame's own defaults.

    Attributes:
        temperature: 0 takes the likeliest code.
        top_k: How many codes may be drawn from; 0 is all.
        min_p: Codes less likely than this share of the likeliest are never drawn; 0 is off.
        seed: Same seed, same Segment number, same context: the same audio.

    Raises:
        OptionError: One of them makes no sense, so that none such reaches a device.
    """

    temperature: float = 0.9
    top_k: int = 50
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, Real, 0, MAX_TEMPERATURE)
        check_number("top_k", self.top_k, Integral, 0, MAX_TOP_K)
        check_number("min_p", self.min_p, Real, 0, 1)
        check_number("seed", self.seed, Integral)
        # Fractions and numpy's numbers are numbers too, but no tensor takes them.
        object.__setattr__(self, "temperature", float(self.temperature))
        object.__setattr__(self, "top_k", int(self.top_k))
        object.__setattr__(self, "min_p", float(self.min_p))
        object.__setattr__(self, "seed", int(self.seed))


@dataclass(frozen=True)
class Sampling:
    """How each slot samples; tensors at fixed addresses, so that a graph reads them anew.

    Attributes:
        temperature: [slots] float32; 0 is greedy.
        top_k: [slots] int64; 0 does not limit.
        min_p: [slots] float32; codes below this share of the likeliest one's probability are
            never taken; 0 is off.
        key: [slots, 2] int64 below 2^32: the session's seed and the Segment's number, hashed.
    """

    temperature: Tensor
    top_k: Tensor
    min_p: Tensor
    key: Tensor

    @classmethod
    def greedy(cls, slots: int, device: torch.device | str) -> "Sampling":
        """Every slot takes the likeliest code."""
        return cls(
            torch.zeros(slots, device=device),
            torch.zeros(slots, device=device, dtype=torch.long),
            torch.zeros(slots, device=device),
            torch.zeros(slots, 2, device=device, dtype=torch.long),
        )

    def rows(self, count: int) -> "Sampling":
        """A view of the first slots."""
        return Sampling(
            self.temperature[:count], self.top_k[:count], self.min_p[:count], self.key[:count]
        )


class Draw(NamedTuple):
    """Draws the codes of a frame; see `sample` for its parts.

    Attributes:
        how: Of the batch.
        frame: [batch] int64.
        running: [batch] bool; the codes of a row that does not run mean nothing.
        most: No row's `top_k` is larger.
    """

    how: Sampling
    frame: Tensor
    running: Tensor
    most: int

    def __call__(self, logits: Tensor, codebook: int) -> Tensor:
        """Logits [batch, codes] to codes [batch]."""
        return sample(logits, self.how, self.frame, codebook, most=self.most)


def sample(logits: Tensor, how: Sampling, frame: Tensor, codebook: int, *, most: int) -> Tensor:
    """Draws one code per row.

    Args:
        logits: [batch, codes], of the legal codes only.
        how: Of the same batch.
        frame: [batch] int64, the number of the frame in its Segment.
        codebook: Which of the frame's codes this is.
        most: No row's `top_k` is larger (one of 0 counts as all codes), so that no more need be
            sorted.

    Returns:
        [batch] int64.
    """
    # As the reference does: in float64 two logits may differ that in float32 are a tie.
    logits = logits.float()
    likeliest = logits.argmax(-1)
    scores, ids = logits.topk(min(most, logits.shape[-1]), dim=-1)
    scores = scores / how.temperature.clamp(min=1e-5)[:, None]
    rank = torch.arange(scores.shape[-1], device=logits.device)
    limit = torch.where(how.top_k > 0, how.top_k, logits.shape[-1])
    floor = scores[:, :1] + how.min_p.clamp(min=1e-30).double().log().float()[:, None]
    allowed = (rank < limit[:, None]) & (scores >= floor)
    noisy = scores + _gumbel(how.key, frame, codebook, ids)
    drawn = noisy.masked_fill(~allowed, -torch.inf).argmax(-1, keepdim=True)
    return torch.where(how.temperature > 0, ids.gather(-1, drawn).squeeze(-1), likeliest)


def segment_key(seed: int, segment: int) -> tuple[int, int]:
    """The two words of a Segment's key, from the session's seed and the Segment's number."""
    low = _mix_int((seed & _WORD) ^ _mix_int(segment & _WORD))
    high = _mix_int(((seed >> 32) & _WORD) ^ _mix_int(low + 0x9E3779B9 & _WORD))
    return low, high


def _gumbel(key: Tensor, frame: Tensor, codebook: int, ids: Tensor) -> Tensor:
    """Gumbel noise float32 [batch, k] for codes ids [batch, k]."""
    place = _mix(key[:, 0] ^ _mix(frame * 256 + codebook & _WORD))
    place = _mix(place + key[:, 1] & _WORD)
    bits = _mix(place[:, None] ^ _mix(ids + 1))
    # In float64, so that whatever makes the logarithm it rounds to the same float32.
    uniform = ((bits >> 9).double() + 0.5) * 2.0**-23
    return -(-uniform.log()).log().float()


def _mix(x: Tensor) -> Tensor:
    """A good 32-bit hash (C. Wellons' "lowbias32") of int64 words below 2^32.

    The products overflow int64, which wraps; the low 32 bits are right all the same.
    """
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    return x ^ (x >> 16)


def _mix_int(x: int) -> int:
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    return x ^ (x >> 16)
