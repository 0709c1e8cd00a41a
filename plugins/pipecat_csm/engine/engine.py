"""Many sessions on one device: one thread steps all that speak as one batch.

Sessions join, stop and are cancelled between two frames. A long context is read in chunks, one
between two frames, so that it delays those who speak by at most that.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import tokenizers
import torch
from torch import Tensor

from pipecat_csm.engine.calls import Calls
from pipecat_csm.engine.codec import Codec
from pipecat_csm.engine.context import Context
from pipecat_csm.engine.listening import MAX_LISTENING_S, Listening
from pipecat_csm.engine.reading import Readings
from pipecat_csm.engine.replies import Replies
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.engine.schedule import Turn
from pipecat_csm.engine.session import Session
from pipecat_csm.engine.slots import Occupancy, Slots
from pipecat_csm.engine.speech import Speech
from pipecat_csm.engine.window import Limits
from pipecat_csm.errors import CSMError, EngineClosedError
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.prompt import Prompt
from pipecat_csm.segment import Segment

logger = logging.getLogger(__name__)

# A step that takes longer will not end. One that is compiled only now may take a minute.
_HANGS_S = 120.0
_ENDS_S = 30.0


class Engine:
    """The sessions of one device, and the thread that serves them."""

    def __init__(
        self,
        runner: Runner,
        tokenizer: tokenizers.Tokenizer,
        *,
        spares: int = 0,
        late: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the thread.

        Args:
            runner: With a slot for each session, and the spare ones.
            tokenizer: The checkpoint's.
            spares: The runner's last slots, on which contexts whose oldest Segments leave are
                read anew while their sessions go on. Without one the session waits for it.
            late: Whether a step is launched before the last one is read, so that a device that
                works by itself never waits for the host; by default where it does, on CUDA.
            clock: Tells seconds; see `schedule` for what depends on it.
        """
        self._runner = runner
        self.tokenizer = tokenizer
        self.config: CSMConfig = runner.model.config
        self.positions = runner.positions
        self.rebuilds_waited = 0
        """How often somebody had to wait until a shortened context was read anew."""
        self.heartbeat_s = time.monotonic()
        """When the thread was last seen alive, on the monotonic clock; old while nobody speaks."""
        self._calls = Calls()
        self._slots = Slots(runner.slots, spares)
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()
        self._codec = Codec(runner.model.mimi)
        # Of the thread alone.
        self.clock = clock
        """Tells seconds."""
        late = runner.device.type == "cuda" if late is None else late
        self._replies = Replies(runner, late=late, clock=clock)
        self._readings = Readings(runner, clock)
        self._thread = threading.Thread(target=self._run, name="csm-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Engine":
        """The engine itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it serves; it does until it is closed, or its device is lost or hangs."""
        seen_s = max(self.heartbeat_s, self._calls.taken_s)
        hangs = time.monotonic() - seen_s > _HANGS_S and not self._calls.waits
        return not self._calls.closed and not hangs

    @property
    def occupancy(self) -> Occupancy:
        """How busy it is now."""
        return Occupancy(self._slots.sessions, len(self._sessions), len(self._replies))

    @property
    def steps(self) -> int:
        """Steps made since the start."""
        return self._replies.steps

    @property
    def prefilled_rows(self) -> int:
        """Positions that were read from prompts since the start."""
        return self._runner.prefilled_rows

    def open_session(
        self, sampling: SamplingOptions | None = None, references: Sequence[Segment] = ()
    ) -> Session:
        """Takes a free slot.

        Args:
            sampling: How replies are sampled.
            references: Segments of the voice, which stand before the history and never leave.

        Raises:
            ContextError: The references take more than 512 positions, or have no sound.
            DeviceMemoryError: The device has no memory left to encode the references.
            EngineBusyError: All slots are taken.
            EngineClosedError: The engine has stopped.
        """
        self._check_open()
        slot = self._slots.take()
        try:
            limits = Limits.of(self.positions)
            context = Context(self.tokenizer, self.config, limits, self.encode, references)
        except Exception:
            self._slots.give_back(slot)
            raise
        session = Session(self, slot, sampling or SamplingOptions(), context)
        with self._lock:
            self._sessions.add(session)
        return session

    def encode(self, audio: Tensor) -> Tensor:
        """Encodes sound that is ready for the model: [samples] at 24 kHz to [frames, codebooks].

        Runs on the caller's thread.

        Raises:
            AudioError: It is empty, or not of one dimension.
            DeviceMemoryError: The device has no memory left for it.
            EngineClosedError: The engine has stopped.
        """
        return self._codec.encode(audio)

    def listen(self, gain: float = 1.0, max_s: float = MAX_LISTENING_S) -> Listening:
        """Begins to encode an utterance while it is spoken.

        Args:
            gain: Of its samples. How loud the whole will be is not known before its end: that
                which brought the caller's last Segment to the loudness of `to_model_audio` is a
                good choice.
            max_s: It may last so long.

        Returns:
            What is fed with sound; the codes that it gives make a Segment that needs no more than
            to be read: `Segment(text, speaker, codes=listening.finish())`.

        Raises:
            AudioError: The gain or the duration is not above 0.
            DeviceMemoryError: The device has no memory left for it.
            EngineClosedError: The engine has stopped.
        """
        self._check_open()
        return Listening(self._codec, gain=gain, max_s=max_s)

    def close(self) -> None:
        """Ends every reply and the thread; a second time does nothing."""
        self._calls.closed = self._codec.closed = True
        self.wake()
        self._thread.join(_ENDS_S)
        if self._thread.is_alive():
            logger.error("The voice hangs, and is left behind: its memory is not given back.")

    # What follows is for sessions. What one asks for is not done once it is closed: its slot may
    # be another's by then.

    def read(
        self,
        session: Session,
        slot: int,
        prompt: Prompt,
        at: int,
        buffered_s: Callable[[], float] | None = None,
    ) -> Future[None]:
        """Has a slot read a prompt from a position on, in chunks between frames.

        Args:
            session: That asks.
            slot: Its own, or a spare one that it has; silent.
            prompt: What it reads.
            at: The position of its first row.
            buffered_s: Whoever waits for it has so much left to play; None if nobody waits.
        """
        done: Future[None] = Future()
        turn = Turn(buffered_s)

        def add() -> None:
            self._check_holds(session)
            self._readings.add(slot, prompt, at, done, turn)

        self._calls.put(add, done)
        return done

    def hurry(self, slot: int, buffered_s: Callable[[], float]) -> None:
        """Now somebody waits for what a slot reads, who has so much left to play."""
        self._calls.put(lambda: self._readings.hurry(slot, buffered_s), always=True)

    def start(
        self,
        session: Session,
        slot: int,
        last_row: Prompt,
        speech: Speech,
        sampling: SamplingOptions,
        *,
        segment: int,
        frames: int,
    ) -> Future[None]:
        """Starts a reply in a slot that has read everything but the last row."""

        def begin() -> None:
            self._check_holds(session)
            self._replies.begin(slot, last_row, speech, sampling, segment=segment, frames=frames)

        return self._calls.ask(begin)

    def borrow(self) -> int | None:
        """A spare slot to read on; None if there is none at hand."""
        with self._lock:
            holders = list(self._sessions)
        slot = self._slots.borrow()
        # Those who have read theirs and are silent need it no more.
        if slot is None and any(holder.yield_spare() for holder in holders):
            slot = self._slots.borrow()
        return slot

    def give_back(self, spare: int) -> None:
        """Frees a spare slot; what is being read there is no more."""

        def free() -> None:
            self._readings.stop(spare)
            self._slots.give_back(spare)

        with contextlib.suppress(EngineClosedError):
            self._calls.ask(free, always=True)

    def move(self, session: Session, spare: int, slot: int, positions: int) -> Future[None]:
        """Has a silent session's slot know what was read on a spare one, and frees that."""

        def move() -> None:
            try:
                self._check_holds(session)
                self._runner.copy(spare, slot, positions)
            finally:
                self._slots.give_back(spare)

        return self._calls.ask(move, always=True)

    def wake(self) -> None:
        """Has the thread look again at replies that are paused or cancelled."""
        self._calls.wake()

    def release(self, session: Session, slot: int) -> None:
        """Frees a slot, which is done on return; its reply, if one is made, is cancelled."""

        def free() -> None:
            self._replies.end(slot, "cancelled")
            self._readings.stop(slot)
            with self._lock:
                self._sessions.discard(session)
            self._slots.give_back(slot)

        with contextlib.suppress(EngineClosedError):
            self._calls.ask(free, always=True).result()

    def _check_open(self) -> None:
        if self._calls.closed:
            raise EngineClosedError("The engine has stopped.")

    def _check_holds(self, session: Session) -> None:
        if session not in self._sessions:
            raise EngineClosedError("The session is closed.")

    def _run(self) -> None:
        device = self._runner.device
        if device.type == "cuda":  # a thread begins on the first one
            torch.cuda.set_device(device)
        try:
            while not self._calls.closed:
                # Waits only where there was nothing to do when it looked: whatever changed since
                # has woken it.
                self._replies.attend()
                self._calls.serve(wait=self._replies.idle and not self._readings)
                self.heartbeat_s = time.monotonic()
                self._readings.read_a_chunk()
                self._replies.step()
        except Exception as error:  # no call's and no step's, so the device itself is lost
            logger.exception("The voice has stopped.")
            self._replies.close("failed", CSMError(f"The voice has stopped: {error}"))
        finally:
            self._codec.closed = True
            self._replies.close("cancelled")
            self._readings.close()
            self._calls.refuse()
