"""Many sessions on one device: one thread steps all that speak as one batch.

Sessions join, stop and are cancelled between two frames. A long context is read in chunks, one
between two frames, so that it delays those who speak by at most that.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import tokenizers
import torch
from torch import Tensor

from pipecat_csm.engine.calls import Calls
from pipecat_csm.engine.context import Context
from pipecat_csm.engine.runner import Made, Runner, SamplingOptions
from pipecat_csm.engine.session import Session
from pipecat_csm.engine.slots import Occupancy, Slots
from pipecat_csm.engine.speech import Ending, Frame, Speech
from pipecat_csm.engine.window import Limits
from pipecat_csm.errors import CSMError, EngineClosedError
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.prompt import Prompt
from pipecat_csm.segment import Segment


@dataclass(frozen=True)
class _Reading:
    """A context that is being read, chunk by chunk."""

    slot: int
    chunks: Iterator[None]
    done: Future[None]


class Engine:
    """The sessions of one device, and the thread that serves them."""

    def __init__(self, runner: Runner, tokenizer: tokenizers.Tokenizer, *, spares: int = 0) -> None:
        """Starts the thread.

        Args:
            runner: With a slot for each session, and the spare ones.
            tokenizer: The checkpoint's.
            spares: The runner's last slots, on which contexts whose oldest Segments leave are
                read anew while their sessions go on. Without one the session waits for it.
        """
        self._runner = runner
        self.tokenizer = tokenizer
        self.config: CSMConfig = runner.model.config
        self.positions = runner.positions
        self.steps = 0
        """Steps made since the start."""
        self.rebuilds_waited = 0
        """How often somebody had to wait until a shortened context was read anew."""
        self.heartbeat_s = time.monotonic()
        """When the thread was last seen alive, on the monotonic clock."""
        self._calls = Calls()
        self._slots = Slots(runner.slots, spares)
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()
        self._codec_lock = threading.Lock()
        # Of the thread alone.
        self._speaking: dict[int, Speech] = {}
        self._readings: deque[_Reading] = deque()
        self._paused: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="csm-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Engine":
        """The engine itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    @property
    def occupancy(self) -> Occupancy:
        """How busy it is now."""
        return Occupancy(self._slots.sessions, len(self._sessions), len(self._speaking))

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
            EngineBusyError: All slots are taken.
            EngineClosedError: The engine has stopped.
        """
        context = Context(
            self.tokenizer, self.config, Limits.of(self.positions), self.encode, references
        )
        if self._calls.closed:
            raise EngineClosedError("The engine has stopped.")
        session = Session(self, self._slots.take(), sampling or SamplingOptions(), context)
        with self._lock:
            self._sessions.add(session)
        return session

    def encode(self, audio: Tensor) -> Tensor:
        """Encodes sound that is ready for the model: [samples] at 24 kHz to [frames, codebooks].

        Runs on the caller's thread.
        """
        mimi = self._runner.model.mimi
        parameter = next(mimi.parameters())
        with self._codec_lock, torch.inference_mode():
            codes = mimi.encode(audio.to(parameter.device, parameter.dtype))
        return codes.T.cpu().clone()

    def close(self) -> None:
        """Ends every reply and the thread; a second time does nothing."""
        self._calls.closed = True
        self.wake()
        self._thread.join()

    # What follows is for sessions.

    def read(self, slot: int, prompt: Prompt, at: int) -> Future[None]:
        """Has a slot read a prompt from a position on, in chunks between frames."""
        done: Future[None] = Future()

        def enqueue() -> None:
            chunks = self._runner.prefill(slot, prompt, at)
            self._readings.append(_Reading(slot, chunks, done))

        self._calls.put(enqueue, done)
        return done

    def start(
        self,
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
            self._runner.begin(slot, last_row, sampling, segment=segment, frames=frames)
            self._speaking[slot] = speech

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
            self._stop_reading(spare)
            self._slots.give_back(spare)

        with contextlib.suppress(EngineClosedError):
            self._calls.ask(free)

    def move(self, spare: int, slot: int, positions: int) -> Future[None]:
        """Has a silent session's slot know what was read on a spare one, and frees that."""

        def move() -> None:
            try:
                self._runner.copy(spare, slot, positions)
            finally:
                self._slots.give_back(spare)

        return self._calls.ask(move)

    def wake(self) -> None:
        """Has the thread look again at replies that are paused or cancelled."""
        self._calls.wake()

    def release(self, session: Session, slot: int) -> None:
        """Frees a slot, which is done on return; its reply, if one is made, is cancelled."""

        def free() -> None:
            self._end(slot, "cancelled")
            self._stop_reading(slot)
            with self._lock:
                self._sessions.discard(session)
            self._slots.give_back(slot)

        with contextlib.suppress(EngineClosedError):
            self._calls.ask(free).result()

    def _run(self) -> None:
        try:
            while not self._calls.closed:
                # Waits only where nothing is to be done.
                idle = not self._readings and len(self._speaking) == len(self._paused)
                self._calls.serve(wait=idle)
                self.heartbeat_s = time.monotonic()
                self._attend()
                if self._readings:
                    self._read_a_chunk()
                if len(self._speaking) > len(self._paused):
                    self._step()
        finally:
            for slot in list(self._speaking):
                self._end(slot, "cancelled")
            for reading in list(self._readings):
                self._stop_reading(reading.slot)
            self._calls.refuse()

    def _attend(self) -> None:
        """Ends what was cancelled, pauses what is too far ahead, and lets the others go on."""
        for slot, speech in list(self._speaking.items()):
            if speech.cancelled:
                self._end(slot, "cancelled")
            elif speech.full and slot not in self._paused:
                self._runner.pause(slot)
                self._paused.add(slot)
            elif not speech.full and slot in self._paused:
                self._runner.resume(slot)
                self._paused.discard(slot)

    def _read_a_chunk(self) -> None:
        reading = self._readings.popleft()
        try:
            next(reading.chunks)
        except StopIteration:
            reading.done.set_result(None)
        except Exception as error:
            reading.done.set_exception(error)
        else:
            # To the end of the line: a long context does not hold up a short one.
            self._readings.append(reading)

    def _stop_reading(self, slot: int) -> None:
        for reading in [reading for reading in self._readings if reading.slot == slot]:
            self._readings.remove(reading)
            reading.done.set_exception(EngineClosedError("The session or the engine has stopped."))

    def _step(self) -> None:
        try:
            made = self._runner.step()
        except Exception as error:
            # What the slots hold is unknown now; the sessions read it anew.
            failure = CSMError(f"The voice failed while it spoke: {error}")
            for slot in list(self._speaking):
                self._end(slot, "failed", failure)
            return
        self.steps += 1
        self._deliver(made)

    def _deliver(self, made: Made) -> None:
        flags = torch.stack((made.made, made.ended, made.running)).cpu()
        codes, audio = made.codes.cpu().numpy(), made.audio.cpu().numpy()
        for slot, speech in list(self._speaking.items()):
            if slot in self._paused:
                continue
            has_frame, has_ended, goes_on = (bool(flag) for flag in flags[:, slot])
            if has_frame:
                speech.put(Frame(codes[slot].copy(), audio[slot].copy()))
            if has_ended:
                self._end(slot, "end")
            elif speech.runaway is not None:
                self._end(slot, "run-away")
            elif not goes_on:
                self._end(slot, "limit")

    def _end(self, slot: int, ending: Ending, error: CSMError | None = None) -> None:
        self._paused.discard(slot)
        speech = self._speaking.pop(slot, None)
        if speech is not None:
            self._runner.pause(slot)
            speech.finish(ending, error)
