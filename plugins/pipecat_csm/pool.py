"""Sessions between two calls of the Python API, kept for the next one with the same references."""

import contextlib
import threading
from collections.abc import Iterator, Sequence

from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import SamplingOptions
from pipecat_csm.engine.session import Session
from pipecat_csm.errors import EngineBusyError
from pipecat_csm.segment import Segment

_References = tuple[tuple[str, int], ...]


class SessionPool:
    """Lends sessions to calls. Its methods may be called from any thread.

    A session has read its references for good, so it serves only calls with the same. As many are
    kept as the engine has slots: where all are taken, the one idle longest is closed for a call
    with others.
    """

    def __init__(self, engine: Engine) -> None:
        """None is open yet."""
        self._engine = engine
        # Those nobody uses, the one idle longest first.
        self._idle: list[tuple[_References, Session]] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def session(self, how: SamplingOptions, references: Sequence[Segment]) -> Iterator[Session]:
        """A session that has these references, for one call; its history is empty.

        Args:
            how: How replies are sampled.
            references: The same Segments (by id and revision) find the session that has read them.

        Raises:
            ContextError: The references take more positions than they may, or have no sound.
            EngineBusyError: As many calls are going on as there are slots.
            EngineClosedError: The engine has stopped.
        """
        key = tuple((segment.id, segment.revision) for segment in references)
        session = self._take(key) or self._open(how, references)
        session.sampling = how
        session.restart()
        try:
            yield session
        finally:
            with self._lock:
                self._idle.append((key, session))

    def _take(self, key: _References) -> Session | None:
        with self._lock:
            # The one used last has read most of a conversation that goes on.
            for number in reversed(range(len(self._idle))):
                if self._idle[number][0] == key:
                    return self._idle.pop(number)[1]
        return None

    def _open(self, how: SamplingOptions, references: Sequence[Segment]) -> Session:
        # Encoded here, so that it is done once however often a slot must be asked for.
        coded = [self._coded(reference) for reference in references]
        while True:
            try:
                return self._engine.open_session(how, coded)
            except EngineBusyError:
                if not self._close_oldest():
                    raise

    def _coded(self, reference: Segment) -> Segment:
        if reference.codes is not None or reference.audio is None or not len(reference.audio):
            return reference  # or it is refused where it is read
        return reference.with_codes(self._engine.encode(reference.audio))

    def _close_oldest(self) -> bool:
        with self._lock:
            oldest = self._idle.pop(0)[1] if self._idle else None
        if oldest is None:
            return False
        oldest.close()
        return True
