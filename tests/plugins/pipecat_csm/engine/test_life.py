"""Sessions are opened, closed and cancelled at any point, and nothing of them is left behind."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.listening import Listening
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.engine.session import Session
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import CSMError, DeviceMemoryError, EngineBusyError, EngineClosedError
from pipecat_csm.segment import Segment

GREEDY = SamplingOptions(temperature=0)
SESSIONS, SPARES, POSITIONS = 3, 1, 256
FRAME_S = 64 / 24_000  # of the tiny model


def segment(number: int, frames: int) -> Segment:
    codes = torch.randint(0, 16, (frames, 4), generator=torch.Generator().manual_seed(number))
    return Segment("Well then.", 1, codes=codes)


HISTORY = [segment(number, 5 + number % 20) for number in range(12)]
SOUNDING = Segment("Listen.", 1, audio=torch.zeros(500))


class Caller:
    """One session and all that goes on around it; its work is done on a thread of its own."""

    def __init__(self, engine: Engine, session: Session, others: ThreadPoolExecutor) -> None:
        self.session = session
        self.history: list[Segment] = []
        self.speeches: list[Speech] = []
        self.listening: Listening = engine.listen(max_s=0.2)
        self.work: Future[None] | None = None
        self._others = others

    def begin(self, work: Callable[[], None]) -> None:
        """Begins some work, when the last is done; nobody waits for it."""
        self.join()

        def unless_it_fails() -> None:
            # Memory runs out, and it may have been closed meanwhile.
            with contextlib.suppress(DeviceMemoryError, EngineClosedError):
                work()

        self.work = self._others.submit(unless_it_fails)

    def join(self) -> None:
        if self.work is not None:
            self.work.result(30)

    def sync(self) -> None:
        self.session.sync(self.history)

    def speak(self, number: int) -> None:
        speech = self.session.speak(
            "Yes.",
            0,
            context=self.history,
            max_frames=1 + number,
            lead_s=(2 + number % 9) * FRAME_S,
            paced=number % 2 == 0,
            watch=False,
        )
        self.speeches.append(speech)

    def take(self, number: int) -> None:
        if self.speeches:
            speech = self.speeches[-1]
            for _ in range(number % 7):
                with contextlib.suppress(TimeoutError, CSMError):
                    speech.take(0.002)
            speech.report_played(number * FRAME_S)


class Life:
    """An engine whose memory runs out now and then, and everybody who calls."""

    def __init__(self, checkpoint, others: ThreadPoolExecutor, patch, *, late: bool) -> None:
        self.runner = Runner(checkpoint.model, slots=SESSIONS + SPARES, positions=POSITIONS)
        self.engine = Engine(self.runner, checkpoint.tokenizer, spares=SPARES, late=late)
        self.callers: list[Caller] = []
        self.gone: list[Caller] = []
        self.asked: list[Future[None]] = []
        self._others, self._patch = others, patch
        put = self.engine._calls.put

        def noted(work, done=None, *, always=False):
            put(work, done, always=always)
            if done is not None:
                self.asked.append(done)

        patch.setattr(self.engine._calls, "put", noted)
        for number in range(SESSIONS):
            self.open(number)

    def do(self, what: str, number: int) -> None:
        if what == "open":
            self.open(number)
        elif what == "no memory":
            self.run_out(number)
        elif self.callers:
            getattr(self, what)(self.callers[number % len(self.callers)], number)

    def open(self, number: int) -> None:
        references = [SOUNDING] if number % 2 else []
        with contextlib.suppress(DeviceMemoryError, EngineBusyError):
            session = self.engine.open_session(GREEDY, references)
            self.callers.append(Caller(self.engine, session, self._others))

    def close(self, caller: Caller, _: int) -> None:
        """Whatever it is doing."""
        self.callers.remove(caller)
        self.gone.append(caller)
        caller.session.close()
        caller.listening.cancel()

    def sync(self, caller: Caller, number: int) -> None:
        caller.join()
        caller.history = [*HISTORY[number % 5 : number % 13], *[SOUNDING] * (number % 3 == 0)]
        caller.begin(caller.sync)

    def speak(self, caller: Caller, number: int) -> None:
        caller.begin(lambda: caller.speak(number))

    def take(self, caller: Caller, number: int) -> None:
        caller.take(number)

    def cancel(self, caller: Caller, _: int) -> None:
        if caller.speeches:
            caller.speeches[-1].cancel()

    def listen(self, caller: Caller, number: int) -> None:
        with contextlib.suppress(DeviceMemoryError):
            caller.listening.feed(torch.zeros(number))
            if number % 2:
                caller.listening.finish()
            else:
                caller.listening.cancel()
        caller.listening = self.engine.listen(max_s=0.2)

    def run_out(self, number: int) -> None:
        owner, part = [
            (self.runner, "step"),
            (self.runner, "begin"),
            (self.runner, "copy"),
            (self.runner, "_prefill_chunk"),
            (self.runner.model.mimi, "encode_step"),
        ][number % 5]
        working = getattr(owner, part)

        def fail(*_, **__):
            self._patch.setattr(owner, part, working)
            raise torch.OutOfMemoryError("CUDA out of memory.")

        self._patch.setattr(owner, part, fail)

    def check_the_living(self) -> None:
        """Each still says what a new session says after the same."""
        for caller in self.callers:
            caller.join()
            history = [*caller.history, segment(77, 9)]
            if len(self.callers) == SESSIONS:
                self.close(self.callers[-1], 0)
            if caller in self.callers:
                references = [SOUNDING] if caller.session._context.references else []
                resident = said(caller.session, history)
                with self.engine.open_session(GREEDY, references) as fresh:
                    assert np.array_equal(resident, said(fresh, caller.session.kept))

    def check_nothing_is_left(self) -> None:
        for caller in list(self.callers):
            self.close(caller, 0)
        for caller in self.gone:
            caller.join()
            assert all(speech.wait(10) for speech in caller.speeches)
        assert all(future.exception(10) is None or future.done() for future in self.asked)
        engine = self.engine
        assert (engine.occupancy.open, engine.occupancy.speaking) == (0, 0)
        assert engine._replies.idle
        assert not engine._readings
        assert not self.runner._running
        assert [engine.borrow() for _ in range(SPARES + 1)] == [SESSIONS, None]
        taken = [engine.open_session(GREEDY)._slot for _ in range(SESSIONS)]
        assert taken == list(range(SESSIONS))


def said(session: Session, history: Sequence[Segment]) -> np.ndarray:
    speech = session.speak("Certainly.", 0, context=history, max_frames=5, watch=False)
    speech.wait(10)
    return speech.codes


# Threads do not do the same again: a smaller example would be another one.
QUICK = settings(
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ACTIONS = st.sampled_from(
    [*["open", "sync", "speak"] * 2, "close", "take", "cancel", "listen", "no memory"]
)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@settings(QUICK, max_examples=10)
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 99)), min_size=10, max_size=40))
def test_whatever_is_done_when_nothing_is_left_behind(pair, late, actions):
    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor() as others,
    ):
        life = Life(pair().checkpoint, others, patch, late=late)
        with life.engine:
            for what, number in actions:
                life.do(what, number)
            patch.undo()
            life.check_the_living()
            life.check_nothing_is_left()


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@settings(QUICK, max_examples=8)
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 99)), min_size=10, max_size=30))
def test_the_engine_can_be_closed_at_any_point(pair, late, actions):
    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor() as others,
    ):
        life = Life(pair().checkpoint, others, patch, late=late)
        for what, number in actions:
            life.do(what, number)
        life.engine.close()
        for caller in [*life.callers, *life.gone]:
            caller.join()
            caller.session.close()
            assert all(speech.wait(10) for speech in caller.speeches)
        assert all(future.done() for future in life.asked)
