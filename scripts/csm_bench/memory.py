"""What the weights, a session and the process take."""

from collections.abc import Iterator

from pipecat_csm.engine.runner import Runner

from scripts.csm_bench.machine import peak_bytes
from scripts.csm_bench.report import Row
from scripts.csm_bench.subject import Subject


def measure(subject: Subject) -> Iterator[Row]:
    """After all that was measured before, with a session and a spare slot."""
    model = subject.model
    # Some are views of others.
    storages = {t.data_ptr(): t for t in (*model.parameters(), *model.buffers())}
    figures = {
        "weights_bytes": sum(t.numel() * t.element_size() for t in storages.values()),
        "session_bytes": session_bytes(subject.runner),
        "peak_bytes": peak_bytes(subject.settings),
    }
    yield Row("memory", subject.variant, figures)


def session_bytes(runner: Runner) -> int:
    """What the state of one slot takes."""
    tensors = runner.state.tensors()
    return sum(t.numel() * t.element_size() for t in tensors) // runner.slots
