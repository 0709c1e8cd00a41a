"""A caller's sound becomes codes while he speaks, so that nothing is left to encode at his end."""

import math
import threading

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipecat_csm.engine.codec import Codec, host_codes
from pipecat_csm.errors import AudioError
from pipecat_csm.model.config import SAMPLE_RATE_HZ
from pipecat_csm.model.mimi import EncodeState

MAX_LISTENING_S = 300.0


class Listening:
    """One utterance on its way in. Fed from one thread at a time, cancelled from any.

    It holds its codes, less than a frame of sound, and the encoder's memory, which does not grow.
    Encoding runs on the thread that feeds, which should be one that may wait.
    """

    def __init__(self, codec: Codec, *, gain: float, max_s: float) -> None:
        """Made by `Engine.listen`.

        Raises:
            AudioError: The gain or the duration is not above 0.
        """
        if not (0 < gain < math.inf and 0 < max_s < math.inf):
            raise AudioError(f"A gain of {gain} for at most {max_s} s: both must be above 0.")
        self._codec = codec
        self._gain = gain
        self._max_s = max_s
        self._room = int(max_s * SAMPLE_RATE_HZ)
        self._lock = threading.Lock()
        self._rest = torch.zeros(0)
        self._pieces: list[Tensor] = []
        self._state: EncodeState | None = codec.begin()

    def feed(self, samples: Tensor | NDArray[np.float32]) -> None:
        """Takes what was heard next, and encodes the frames that it completes.

        Args:
            samples: float32 [samples], 24 kHz mono, any number of them. After the gain they are
                clipped to [-1, 1], as `to_model_audio` does.

        Raises:
            AudioError: They are not of this kind, or not finite; or the utterance has ended; or it
                is longer than `max_s` now, and `finish` gives the codes until then.
            DeviceMemoryError: The device has no memory left; the utterance has ended.
            EngineClosedError: The engine has stopped.
        """
        heard = _checked(samples)
        with self._lock:
            taken = heard[: self._room]
            self._room -= len(taken)
            sound = torch.cat((self._rest, (taken * self._gain).clamp(-1.0, 1.0)))
            whole = len(sound) - len(sound) % self._codec.frame_samples
            self._encode(sound[:whole])
            self._rest = sound[whole:].clone()
        if len(taken) < len(heard):
            raise AudioError(
                f"An utterance may last {self._max_s:g} s; finish() gives the codes until then."
            )

    def finish(self) -> Tensor:
        """The codes of all that was fed: int64 [frames, codebooks], on the host.

        They are those of `Engine.encode` for the whole clip: zeros fill the last frame. Where
        nothing was fed there are no frames.

        Raises:
            AudioError: The utterance has ended before.
            DeviceMemoryError: The device has no memory left.
            EngineClosedError: The engine has stopped.
        """
        with self._lock:
            missing = -len(self._rest) % self._codec.frame_samples
            self._encode(torch.nn.functional.pad(self._rest, (0, missing)))
            nothing = torch.zeros(0, self._codec.codebooks, dtype=torch.long)
            codes = host_codes(self._pieces) if self._pieces else nothing
            self._forget()
        return codes

    def cancel(self) -> None:
        """Ends the utterance and forgets it; a second time, or after `finish`, does nothing."""
        with self._lock:
            self._forget()

    def _encode(self, sound: Tensor) -> None:
        if self._state is None:
            raise AudioError("This utterance has ended; listen() begins another.")
        try:
            self._pieces += self._codec.frames(sound, self._state)
        except Exception:  # the encoder's memory is of no use any more
            self._forget()
            raise

    def _forget(self) -> None:
        self._state, self._rest, self._pieces = None, torch.zeros(0), []


def _checked(samples: Tensor | NDArray[np.float32]) -> Tensor:
    if isinstance(samples, np.ndarray) and samples.dtype.kind == "f":
        # A copy: torch wants memory that may be written, of the machine's own byte order.
        samples = torch.from_numpy(samples.astype(np.float32, order="C"))
    if not isinstance(samples, Tensor) or not samples.is_floating_point() or samples.ndim != 1:
        raise AudioError(
            "An utterance is fed with float samples [samples], 24 kHz mono; see to_model_audio."
        )
    if not bool(samples.isfinite().all()):
        raise AudioError("The sound holds NaN or infinity.")
    return samples.detach().cpu()
