"""A whole frame as one CUDA graph: a thousand kernels, one launch."""

from collections.abc import Callable

import torch

from pipecat_csm.model.csm import CSMModel
from pipecat_csm.model.state import StepState
from pipecat_csm.model.step import step as eager_step

# What is run before it is captured, so that compilers, tuners and allocators have done their work.
_WARM_UPS = 3

Work = Callable[[], None]


class GraphedStep:
    """The step as graphs, one for each bucket of slots, span and width of the sampling.

    A graph holds addresses, so a step must always be given the very state that it was given first.
    Graphs share their memory, which they may as only one replays at a time.
    """

    def __init__(
        self,
        step: Callable[..., None] = eager_step,
        capture: Callable[[Work], Work] | None = None,
    ) -> None:
        """Holds no graph yet.

        Args:
            step: What is captured.
            capture: Makes a replay of some work; CUDA's by default.
        """
        self._step = step
        self._capture = capture or CUDACapture()
        self._replays: dict[tuple[int, int, int], tuple[StepState, Work]] = {}

    @property
    def graphs(self) -> int:
        """How many there are."""
        return len(self._replays)

    def __call__(self, model: CSMModel, state: StepState, *, span: int, most: int) -> None:
        """Makes a frame as `model.step.step` does; the first time of a kind takes a moment.

        Raises:
            ValueError: The state is another than the first time.
        """
        kind = (len(state.position), span, most)
        if kind not in self._replays:
            self._replays[kind] = state, self._captured(model, state, span, most)
        known, replay = self._replays[kind]
        if known is not state:
            raise ValueError("A graph replays on the state that it was captured with.")
        replay()

    def _captured(self, model: CSMModel, state: StepState, span: int, most: int) -> Work:
        # Nobody runs while it is tried out, so that it leaves no trace.
        running = state.running.clone()
        state.running.zero_()
        try:
            return self._capture(lambda: self._step(model, state, span=span, most=most))
        finally:
            state.running.copy_(running)


class CUDACapture:
    """Captures work on the current device, in one pool of memory."""

    def __init__(self) -> None:
        """Nothing is captured yet."""
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """Runs the work a few times, then captures it; returns what replays it."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may encode what their callers say meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        return graph.replay
