"""The replies that are being made, and the step that makes one frame of each."""

from collections.abc import Callable

from pipecat_csm.engine.fetch import Fetch, Pending
from pipecat_csm.engine.memory import in_words
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.engine.schedule import Pace
from pipecat_csm.engine.speech import Ending, Frame, Speech
from pipecat_csm.errors import CSMError, DeviceError, DeviceMemoryError
from pipecat_csm.model.config import SAMPLE_RATE_HZ
from pipecat_csm.model.prompt import Prompt

# A device on which so many steps have failed in a row does no more work.
_LOST_AFTER = 3


class Replies:
    """Who speaks, by slot. For the engine's thread alone.

    Late, a step is launched before the one before it is read, so that the device never waits for
    the host. A slot whose Segment has ended stops by itself, on the device; whoever cancels may
    have one frame made for him that nobody hears of.
    """

    def __init__(self, runner: Runner, *, late: bool, clock: Callable[[], float]) -> None:
        """Nobody speaks; `clock` tells seconds, by which steps are timed."""
        self.steps = 0
        """Steps made since the start."""
        self._runner = runner
        self._late = late
        self._clock = clock
        self._fetch = Fetch(runner.state)
        self._pace = Pace(runner.model.config.codec.frame_samples / SAMPLE_RATE_HZ)
        self._speaking: dict[int, Speech] = {}
        # The slots that the next step runs, and the step that was launched and not yet read.
        self._running: set[int] = set()
        self._all_run = True
        self._pending: Pending | None = None
        self._failures = 0  # since a step went well

    def __len__(self) -> int:
        """How many are being made, paused ones too."""
        return len(self._speaking)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to step and nothing to read."""
        return not self._running and self._pending is None

    def begin(
        self,
        slot: int,
        last_row: Prompt,
        speech: Speech,
        sampling: SamplingOptions,
        *,
        segment: int,
        frames: int,
    ) -> None:
        """Starts a reply; see `Runner.begin`."""
        self._runner.begin(slot, last_row, sampling, segment=segment, frames=frames)
        self._speaking[slot] = speech
        self._running.add(slot)

    def end(self, slot: int, ending: Ending, error: CSMError | None = None) -> None:
        """Ends the reply of a slot, if it has one."""
        speech = self._speaking.pop(slot, None)
        if speech is not None:
            speech.finish(ending, error)
            self._pause(slot)

    def attend(self) -> None:
        """Ends what was cancelled, pauses what is ahead enough, and lets the others go on."""
        in_flight = {} if self._pending is None else self._pending.speeches
        buffered_s: dict[int, float] = {}
        for slot, speech in list(self._speaking.items()):
            if speech.cancelled:
                self.end(slot, "cancelled")
            elif speech.has_room(int(in_flight.get(slot) is speech)):
                buffered_s[slot] = speech.buffered_s
        chosen = self._pace.choose(buffered_s)
        self._all_run = len(chosen) == len(buffered_s)
        for slot in self._running - chosen:
            self._pause(slot)
        for slot in chosen - self._running:
            # It was paused before the last step that was read, so it has not ended since.
            self._runner.resume(slot)
            self._running.add(slot)

    def step(self) -> None:
        """Launches a step if anybody is to go on, and reads the last one that there was."""
        began_s, timed = self._clock(), self._running and self._all_run
        before, self._pending = self._pending, None
        launched, failure = None, None
        if self._running:
            try:
                launched = self._launch()
            except Exception as error:
                failure = error
        if before is not None:
            self._deliver(before)
        if failure is not None:
            self._fail(failure)
        elif launched is not None and self._late:
            self._pending = launched
        elif launched is not None:
            self._deliver(launched)
        if timed:
            self._pace.note(self._clock() - began_s)

    def close(self, ending: Ending, error: CSMError | None = None) -> None:
        """Ends every reply, whatever state the device is in."""
        for speech in self._speaking.values():
            speech.finish(ending, error)
        self._speaking.clear()

    def _launch(self) -> Pending:
        made = self._runner.step()
        self.steps += 1
        return self._fetch.begin(made, {slot: self._speaking[slot] for slot in self._running})

    def _deliver(self, pending: Pending) -> None:
        try:
            made = pending.read()
        except Exception as error:
            self._fail(error)
            return
        self._failures = 0
        codes, audio = made.codes.numpy(), made.audio.numpy()
        has_frame, has_ended, goes_on = (
            flags.tolist() for flags in (made.made, made.ended, made.running)
        )
        for slot, speech in pending.speeches.items():
            if self._speaking.get(slot) is not speech:
                continue  # it has ended meanwhile, and the slot may be another's
            if has_frame[slot]:
                speech.put(Frame(codes[slot].copy(), audio[slot].copy()))
            if has_ended[slot]:
                self.end(slot, "end")
            elif speech.runaway is not None:
                self.end(slot, "run-away")
            elif not goes_on[slot]:
                self.end(slot, "limit")

    def _fail(self, error: Exception) -> None:
        """Ends every reply: what the slots hold is unknown now, and the sessions read it anew.

        Raises:
            DeviceError: So many have failed that the device is lost.
        """
        failure = in_words(error, "while it spoke")
        if not isinstance(failure, CSMError):
            failure = CSMError(f"The voice failed while it spoke: {error}")
        for slot in list(self._speaking):
            self.end(slot, "failed", failure)
        if not isinstance(failure, DeviceMemoryError):
            self._failures += 1
        if self._failures >= _LOST_AFTER:
            raise DeviceError(f"{self._failures} steps in a row have failed, the last: {error}")

    def _pause(self, slot: int) -> None:
        if slot in self._running:
            self._running.discard(slot)
            self._runner.pause(slot)
