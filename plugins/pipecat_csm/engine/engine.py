"""Many sessions on one device: one thread steps all that speak as one batch.

Sessions join, stop and are cancelled between two frames. A long context is read in chunks, one
between two frames, so that it delays those who speak by at most that.
"""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import tokenizers
import torch
from torch import Tensor

from pipecat_csm.engine.runner import Made, Runner, SamplingOptions
from pipecat_csm.engine.session import Session
from pipecat_csm.engine.speech import Ending, Frame, Speech
from pipecat_csm.errors import CSMError, EngineBusyError, EngineClosedError
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.model.prompt import Prompt

_CALLS_AT_ONCE = 1024


@dataclass(frozen=True)
class _Call:
    """Work for the thread, and what tells the caller how it went."""

    work: Callable[[], None]
    done: Future[None] | None = None


@dataclass(frozen=True)
class _Reading:
    """A context that is being read, chunk by chunk."""

    slot: int
    chunks: Iterator[None]
    done: Future[None]


@dataclass(frozen=True)
class Occupancy:
    """How busy the engine is.

    Attributes:
        slots: Sessions that it can hold.
        open: Sessions that it holds.
        speaking: Replies that are being made.
    """

    slots: int
    open: int
    speaking: int


class Engine:
    """The sessions of one device, and the thread that serves them."""

    def __init__(self, runner: Runner, tokenizer: tokenizers.Tokenizer) -> None:
        """Starts the thread."""
        self._runner = runner
        self.tokenizer = tokenizer
        self.config: CSMConfig = runner.model.config
        self.positions = runner.positions
        self.steps = 0
        """Steps made since the start."""
        self.heartbeat_s = time.monotonic()
        """When the thread was last seen alive, on the monotonic clock."""
        self._calls: queue.Queue[_Call] = queue.Queue(_CALLS_AT_ONCE)
        self._free = list(range(runner.slots))
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()
        self._codec_lock = threading.Lock()
        self._closed = False
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
        return Occupancy(self._runner.slots, len(self._sessions), len(self._speaking))

    @property
    def prefilled_rows(self) -> int:
        """Positions that were read from prompts since the start."""
        return self._runner.prefilled_rows

    def open_session(self, sampling: SamplingOptions | None = None) -> Session:
        """Takes a free slot.

        Raises:
            EngineBusyError: All slots are taken.
            EngineClosedError: The engine has stopped.
        """
        with self._lock:
            if self._closed:
                raise EngineClosedError("The engine has stopped.")
            if not self._free:
                raise EngineBusyError(
                    f"All {self._runner.slots} sessions of the voice are taken; try again later."
                )
            # The lowest, so that buckets stay small.
            self._free.sort()
            session = Session(self, self._free.pop(0), sampling or SamplingOptions())
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
        self._closed = True
        self.wake()
        self._thread.join()

    # What follows is for sessions.

    def read(self, slot: int, prompt: Prompt, at: int) -> Future[None]:
        """Has a slot read a prompt from a position on, in chunks between frames."""
        done: Future[None] = Future()

        def enqueue() -> None:
            chunks = self._runner.prefill(slot, prompt, at)
            self._readings.append(_Reading(slot, chunks, done))

        self._call(enqueue, done)
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
        done: Future[None] = Future()

        def begin() -> None:
            self._runner.begin(slot, last_row, sampling, segment=segment, frames=frames)
            self._speaking[slot] = speech
            done.set_result(None)

        self._call(begin, done)
        return done

    def wake(self) -> None:
        """Has the thread look again at replies that are paused or cancelled."""
        # Where the queue is full the thread is awake anyway.
        with contextlib.suppress(queue.Full):
            self._calls.put_nowait(_Call(_nothing))

    def release(self, session: Session, slot: int) -> None:
        """Frees a slot; its reply, if one is being made, is cancelled."""

        def free() -> None:
            self._end(slot, "cancelled")
            with self._lock:
                self._sessions.discard(session)
                self._free.append(slot)

        with contextlib.suppress(EngineClosedError):
            self._call(free, None)

    def _call(self, work: Callable[[], None], done: Future[None] | None) -> None:
        with self._lock:  # what is put before the thread refuses the rest is answered
            if self._closed:
                raise EngineClosedError("The engine has stopped.")
            try:
                self._calls.put_nowait(_Call(work, done))
            except queue.Full:
                raise EngineBusyError("The voice has too much to do; try again later.") from None

    def _run(self) -> None:
        try:
            while not self._closed:
                self._serve_calls()
                self.heartbeat_s = time.monotonic()
                self._attend()
                if self._readings:
                    self._read_a_chunk()
                if len(self._speaking) > len(self._paused):
                    self._step()
        finally:
            for slot in list(self._speaking):
                self._end(slot, "cancelled")
            self._refuse_the_rest()

    def _serve_calls(self) -> None:
        """Runs what was asked; waits for something only where nothing is to be done."""
        idle = not self._readings and len(self._speaking) == len(self._paused)
        with contextlib.suppress(queue.Empty):
            while True:
                call = self._calls.get(block=idle)
                idle = False
                try:
                    call.work()
                except Exception as error:  # it is the caller's, and harms nobody else
                    if call.done is not None:
                        call.done.set_exception(error)

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

    def _refuse_the_rest(self) -> None:
        gone = EngineClosedError("The engine has stopped.")
        waiting: list[Future[None] | None] = [reading.done for reading in self._readings]
        with self._lock, contextlib.suppress(queue.Empty):
            self._closed = True
            while True:
                waiting.append(self._calls.get_nowait().done)
        for done in waiting:
            if done is not None:
                done.set_exception(gone)


def _nothing() -> None:
    """A call that only wakes the thread."""
