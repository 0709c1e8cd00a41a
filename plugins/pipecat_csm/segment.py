"""One spoken text: who said what, and how it sounded. What CSM's context is made of."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from pipecat_csm.errors import ContextError

if TYPE_CHECKING:
    import torch

# The speaker is no row of a table but digits in the text, "[7]Hello", so that any number would do.
# Llama 3 makes one token of up to three digits: the bound keeps the label within two, and catches
# what was meant to be something else (a sample rate, a database key).
MAX_SPEAKER = 65_535
FRAME_SAMPLES = 1_920
_FRAME_S = 0.08
_SAMPLE_RATE_HZ = 24_000


def _new_id() -> str:
    return uuid4().hex


@dataclass(frozen=True)
class Segment:
    """One spoken text of one speaker. Two Segments are equal when their words and identity are.

    A Segment with neither audio nor codes is text still to be spoken: only the target of a
    generation may be one. `id` and `revision` together name its content: an engine that holds a
    Segment resident recomputes it when either differs.

    Attributes:
        text: What was said.
        speaker: Who said it: any small number, the same for the same voice.
        audio: How it sounded: float [samples], 24 kHz mono (see `audio.to_model_audio`).
        codes: The same as Mimi's codes: int64 [frames, codebooks], without the closing all-zero
            frame.
        id: Its name, unique by default.
        revision: Counts the crops.

    Raises:
        ContextError: The text is no text, the speaker is out of range, or audio or codes are not
            of the shape and kind above.
    """

    text: str
    speaker: int
    audio: "torch.Tensor | None" = field(default=None, compare=False, repr=False)
    codes: "torch.Tensor | None" = field(default=None, compare=False, repr=False)
    id: str = field(default_factory=_new_id)
    revision: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ContextError(f"A Segment's text is a string, not {_kind(self.text)}.")
        if not _can_be_encoded(self.text):
            raise ContextError("A Segment's text holds half a character; see text.normalise.")
        if type(self.speaker) is not int or not 0 <= self.speaker <= MAX_SPEAKER:
            raise ContextError(
                f"A Segment's speaker is a whole number from 0 to {MAX_SPEAKER:,}, "
                f"not {self.speaker!r}."
            )
        if self.audio is not None:
            _check_audio(self.audio)
        if self.codes is not None:
            _check_codes(self.codes)

    @property
    def is_spoken(self) -> bool:
        """Whether it has sound, as audio or as codes."""
        return self.audio is not None or self.codes is not None

    @property
    def duration_s(self) -> float:
        """Length of its sound; 0 for text alone."""
        if self.audio is not None:
            return self.audio.shape[0] / _SAMPLE_RATE_HZ
        return 0.0 if self.codes is None else self.codes.shape[0] * _FRAME_S

    def with_codes(self, codes: "torch.Tensor", audio: "torch.Tensor | None" = None) -> "Segment":
        """The same Segment, now that its codes are known.

        Args:
            codes: int64 [frames, codebooks].
            audio: Its sound, float [samples], if that became known too.

        Raises:
            ContextError: The codes make no sense, or it has other codes already: other content
                under the same id and revision would leave an engine with a stale context.
        """
        if self.codes is not None and not self.codes.equal(codes):
            raise ContextError(
                f"Segment {self.id} already has other codes; crop it, or make a new Segment."
            )
        return replace(self, codes=codes, audio=self.audio if audio is None else audio)

    def cropped(self, frames: int, text: str, *, frame_samples: int = FRAME_SAMPLES) -> "Segment":
        """What was heard of it before it was cut off: the next revision of the same Segment.

        Args:
            frames: How many whole frames remain. With 0 only the words would stay: leave such a
                Segment out instead.
            text: The words that remain.
            frame_samples: Samples per frame, where the codec is not CSM-1B's.

        Raises:
            ContextError: It has no sound, or fewer frames than that.
        """
        length = self._frames(frame_samples)
        if not 0 <= frames <= length:
            raise ContextError(
                f"Segment {self.id} has {length} frames and cannot be cropped to {frames}."
            )
        # Copies, so that the part that nobody heard is freed.
        return replace(
            self,
            text=text,
            audio=None if self.audio is None else self.audio[: frames * frame_samples].clone(),
            codes=None if self.codes is None else self.codes[:frames].clone(),
            revision=self.revision + 1,
        )

    def _frames(self, frame_samples: int) -> int:
        if self.codes is not None:
            return self.codes.shape[0]
        if self.audio is not None:
            return -(-self.audio.shape[0] // frame_samples)
        raise ContextError(f"Segment {self.id} is text alone; there is no sound to crop.")


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, of which no tokenizer can make anything
        return False
    return True


def _check_audio(audio: "torch.Tensor") -> None:
    # By their own methods: torch takes seconds to import, and who has a tensor has it loaded.
    if not hasattr(audio, "is_floating_point"):
        raise ContextError(
            f"A Segment's audio is a torch tensor, not {_kind(audio)}; see to_model_audio."
        )
    if audio.ndim != 1 or not audio.is_floating_point():
        raise ContextError(
            "A Segment's audio is float [samples] at 24 kHz, "
            f"not {_shape(audio)}; see to_model_audio."
        )
    if not bool(audio.isfinite().all()):
        raise ContextError("A Segment's audio holds NaN or infinity.")


def _check_codes(codes: "torch.Tensor") -> None:
    if not hasattr(codes, "is_floating_point"):
        raise ContextError(f"A Segment's codes are a torch tensor, not {_kind(codes)}.")
    if str(codes.dtype) != "torch.int64" or codes.ndim != 2 or not codes.shape[1]:
        raise ContextError(f"A Segment's codes are int64 [frames, codebooks], not {_shape(codes)}.")


def _kind(value: object) -> str:
    return type(value).__name__


def _shape(tensor: "torch.Tensor") -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
