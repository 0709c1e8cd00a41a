"""From the device to the host, without holding up the next step."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch

from pipecat_csm.engine.runner import Made
from pipecat_csm.engine.speech import Speech
from pipecat_csm.model.state import StepState

_FIELDS = tuple(field.name for field in fields(Made))


@dataclass(frozen=True)
class Pending:
    """What a step made, on its way to the host.

    Attributes:
        speeches: Whose slots took part, when the step was launched: a slot may be another's by the
            time that this is read.
    """

    speeches: Mapping[int, Speech]
    _host: Made
    _arrived: torch.cuda.Event | None

    def read(self) -> Made:
        """Waits until all has arrived; the tensors are good until the step after the next."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host


class Fetch:
    """Copies what each step made into memory of the host, behind the step and before the next.

    Two sets of buffers take turns, so that one step may be launched before the last one is read.
    """

    def __init__(self, state: StepState) -> None:
        """Makes the buffers; on CUDA they are pinned, as a copy that nobody waits for must be."""
        self._device = state.codes.device
        self._on_cuda = self._device.type == "cuda"
        self._next, self._other = (self._buffers(state) for _ in range(2))

    def begin(self, made: Made, speeches: Mapping[int, Speech]) -> Pending:
        """Starts to copy what the step that was launched last makes.

        Args:
            made: Of that step.
            speeches: Those that take part in it, by slot.
        """
        host, self._next, self._other = self._next, self._other, self._next
        arrived = None
        for name in _FIELDS:
            getattr(host, name).copy_(getattr(made, name), non_blocking=self._on_cuda)
        if self._on_cuda:
            # Waiting for it leaves the processor to others.
            arrived = torch.cuda.Event(blocking=True)
            arrived.record(torch.cuda.current_stream(self._device))
        return Pending(dict(speeches), host, arrived)

    def _buffers(self, state: StepState) -> Made:
        like = (getattr(state, name) for name in _FIELDS)
        return Made(*(torch.empty(t.shape, dtype=t.dtype, pin_memory=self._on_cuda) for t in like))
