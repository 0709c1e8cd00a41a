"""What the engine's thread is asked to do is done in order, or refused in words."""

import pytest
from pipecat_csm.engine.calls import Calls
from pipecat_csm.errors import EngineBusyError, EngineClosedError


def test_calls_are_done_in_order_and_told():
    calls, done = Calls(), []
    futures = [calls.ask(lambda number=number: done.append(number)) for number in range(3)]
    assert not any(future.done() for future in futures)
    calls.serve(wait=True)
    assert done == [0, 1, 2]
    assert all(future.done() for future in futures)


def test_a_call_that_fails_tells_who_asked_and_nobody_else():
    calls = Calls()

    def fail() -> None:
        raise ValueError("no")

    failing, working = calls.ask(fail), calls.ask(lambda: None)
    calls.serve(wait=False)
    assert isinstance(failing.exception(0), ValueError)
    assert working.exception(0) is None


def test_too_much_is_refused_but_never_what_frees_something():
    calls, freed = Calls(), []
    for _ in range(1024):
        calls.ask(lambda: None)
    with pytest.raises(EngineBusyError, match="too much to do"):
        calls.ask(lambda: None)
    calls.wake()
    freeing = calls.ask(lambda: freed.append(1), always=True)
    calls.serve(wait=False)
    assert freed == [1]
    assert freeing.done()
    calls.ask(lambda: None)


def test_after_the_end_everyone_is_told():
    calls = Calls()
    waiting = calls.ask(lambda: None)
    calls.refuse()
    assert isinstance(waiting.exception(0), EngineClosedError)
    with pytest.raises(EngineClosedError):
        calls.ask(lambda: None, always=True)
    calls.wake()
