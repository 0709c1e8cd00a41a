"""Mimi's encoder for many threads at once: whole clips, and callers while they speak."""

import threading
from collections import deque

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipecat_csm.engine.memory import memory_in_words
from pipecat_csm.errors import AudioError, EngineClosedError
from pipecat_csm.model.mimi import EncodeState, Mimi

# At once, 2.6 s of sound: nobody waits for more of somebody else's than that.
_MOST_FRAMES = 32
_DOING = "while it encoded sound"


class Codec:
    """Encodes on the thread that calls, one piece at a time, whoever's turn it is.

    Several at once would take the processor from the engine's thread, and a long clip in one go
    from the callers.
    """

    def __init__(self, mimi: Mimi) -> None:
        """Nothing is being encoded."""
        self.frame_samples = mimi.config.frame_samples
        self.codebooks = mimi.config.num_quantizers
        self.closed = False
        """Whether the engine has stopped; nothing more is encoded then."""
        self._mimi = mimi
        self._turns = FairLock()

    def encode(self, audio: Tensor) -> Tensor:
        """A clip [samples] at 24 kHz, zero-padded to whole frames, as codes [frames, codebooks].

        Raises:
            AudioError: It is empty, or not of one dimension.
            DeviceMemoryError: The device has no memory left for it.
            EngineClosedError: The engine has stopped.
        """
        if audio.dim() != 1 or not audio.numel():
            raise AudioError(f"Mimi encodes mono samples in one row, not {tuple(audio.shape)}.")
        whole = pad(audio, (0, -len(audio) % self.frame_samples))
        return host_codes(self.frames(whole, self.begin()))

    def begin(self) -> EncodeState:
        """The memory of a stream of sound that has not begun.

        Raises:
            DeviceMemoryError: The device has no memory left for it.
        """
        with memory_in_words(_DOING), torch.inference_mode():
            return self._mimi.encode_state(1)

    def frames(self, audio: Tensor, state: EncodeState) -> list[Tensor]:
        """The codes of the next whole frames of a stream.

        Args:
            audio: [k * frame_samples], for any k.
            state: Of the stream; changed in place.

        Returns:
            Pieces [frames, codebooks] on the device, without a wait for it.

        Raises:
            DeviceMemoryError: The device has no memory left; the stream cannot go on.
            EngineClosedError: The engine has stopped.
        """
        pieces = audio.split(_MOST_FRAMES * self.frame_samples) if len(audio) else ()
        return [self._piece(piece, state) for piece in pieces]

    def _piece(self, audio: Tensor, state: EncodeState) -> Tensor:
        with self._turns, memory_in_words(_DOING), torch.inference_mode():
            if self.closed:
                raise EngineClosedError("The engine has stopped.")
            audio = audio.to(self._mimi.device, self._mimi.dtype)
            return self._mimi.encode_step(audio[None], state)[0].T


def host_codes(pieces: list[Tensor]) -> Tensor:
    """Pieces of codes [frames, codebooks], joined, on the host."""
    return torch.cat(pieces).cpu()


class FairLock:
    """A lock that goes to whoever has waited longest: Python's own may go to who just had it."""

    def __init__(self) -> None:
        """Nobody has it."""
        self._change = threading.Condition()
        self._line: deque[object] = deque()

    @property
    def waiting(self) -> int:
        """How many have it or wait for it."""
        return len(self._line)

    def __enter__(self) -> None:
        """Waits for it."""
        me = object()
        with self._change:
            self._line.append(me)
            try:
                self._change.wait_for(lambda: self._line[0] is me)
            except BaseException:  # Ctrl-C while it waits
                self._line.remove(me)
                self._change.notify_all()
                raise

    def __exit__(self, *_: object) -> None:
        """Passes it on."""
        with self._change:
            self._line.popleft()
            self._change.notify_all()
