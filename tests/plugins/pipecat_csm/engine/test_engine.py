"""Many sessions on one device, none of which notices the others."""

import contextlib
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.fetch import Pending
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import CSMError, EngineBusyError, EngineClosedError
from pipecat_csm.segment import Segment

FRAME_S = 64 / 24_000  # of the tiny model


@pytest.fixture(scope="module", params=[False, True], ids=["at once", "late"])
def engine(pair, request):
    checkpoint = pair().checkpoint
    with Engine(
        Runner(checkpoint.model, slots=4), checkpoint.tokenizer, late=request.param
    ) as engine:
        yield engine


def context(number: int) -> list[Segment]:
    codes = torch.randint(0, 16, (5, 4), generator=torch.Generator().manual_seed(number))
    return [Segment(f"Context {number}.", 1, codes=codes)]


def alone(engine, number: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    how = SamplingOptions(seed=number)
    with engine.open_session(how) as session:
        speech = session.speak(
            f"Text {number}.", 0, context=context(number), max_frames=frames, watch=False
        )
        audio = np.concatenate([frame.audio for frame in speech] or [np.zeros(0)])
    return speech.codes, audio


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 30), min_size=4, max_size=4), st.randoms(use_true_random=False))
def test_each_member_of_a_batch_says_what_it_says_alone(engine, lengths, random):
    expected = {number: alone(engine, number, length) for number, length in enumerate(lengths)}
    got = {}

    def call(number: int) -> None:
        time.sleep(random.random() * 0.05)
        got[number] = alone(engine, number, lengths[number])

    threads = [threading.Thread(target=call, args=(number,)) for number in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (codes, audio) in expected.items():
        assert np.array_equal(got[number][0], codes)
        assert np.allclose(got[number][1], audio, atol=1e-6)


def test_a_cancelled_neighbour_changes_nothing(engine):
    expected, _ = alone(engine, 1, 25)
    with engine.open_session(SamplingOptions(seed=9)) as other:
        speech = other.speak("Never mind.", 0, max_frames=200, watch=False)
        speech.take()
        canceller = threading.Timer(0.02, speech.cancel)
        canceller.start()
        codes, _ = alone(engine, 1, 25)
        assert speech.wait(10) == "cancelled"
    assert np.array_equal(codes, expected)


def test_the_same_seed_says_the_same_and_another_does_not(engine):
    first, _ = alone(engine, 1, 20)
    again, _ = alone(engine, 1, 20)
    with engine.open_session(SamplingOptions(seed=2)) as session:
        speech = session.speak("Text 1.", 0, context=context(1), max_frames=20, watch=False)
        speech.wait()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, speech.codes)


def test_a_consumer_who_takes_nothing_pauses_his_own_reply_only(engine):
    with engine.open_session(SamplingOptions(seed=5)) as slow:
        speech = slow.speak("Slowly.", 0, max_frames=40, lead_s=3 * FRAME_S, watch=False)
        codes, _ = alone(engine, 1, 25)
        assert len(codes)
        assert speech.made == 3
        taken = [frame.codes for frame in speech]
        assert speech.made == len(taken) > 3
    with engine.open_session(SamplingOptions(seed=5)) as quick:
        speech = quick.speak("Slowly.", 0, max_frames=40, watch=False)
        speech.wait()
    assert np.array_equal(np.stack(taken), speech.codes), "a pause leaves no trace"


def test_a_paced_consumer_who_takes_at_once_is_led_by_what_he_has_played(engine):
    with engine.open_session(SamplingOptions(seed=5)) as session:
        speech = session.speak(
            "At once.", 0, max_frames=40, lead_s=5 * FRAME_S, paced=True, watch=False
        )
        taken = [speech.take() for _ in range(5)]
        alone(engine, 1, 25)
        assert speech.made == 5, "though nothing waits to be taken"
        assert speech.buffered_s == pytest.approx(5 * FRAME_S)
        played = 0.0
        while taken[-1] is not None:
            played += FRAME_S
            speech.report_played(played)
            taken.append(speech.take(10))
            assert speech.made <= round(played / FRAME_S) + 5
    with engine.open_session(SamplingOptions(seed=5)) as quick:
        expected = quick.speak("At once.", 0, max_frames=40, lead_s=math.inf, watch=False)
        assert expected.wait() == speech.ending
    assert np.array_equal(expected.codes, speech.codes)


def test_a_frame_that_is_taken_while_the_next_is_on_its_way_is_not_forgotten(engine, monkeypatch):
    """The one in flight fills the lead, and what is taken before it comes makes room again."""
    read = Pending.read

    def taken_meanwhile(pending):
        with contextlib.suppress(TimeoutError):
            speech.take(0)
        return read(pending)

    with engine.open_session(SamplingOptions(seed=5)) as session:
        session.sync([])
        monkeypatch.setattr(Pending, "read", taken_meanwhile)
        speech = Speech(engine.wake, frame_s=FRAME_S, lead_s=2 * FRAME_S)
        monkeypatch.setattr("pipecat_csm.engine.session.Speech", lambda *_, **__: speech)
        session.speak("Slowly.", 0, max_frames=20, watch=False)
        assert speech.wait(10) in ("end", "limit")


@pytest.mark.parametrize("paced", [False, True])
def test_a_consumer_who_is_gone_costs_nothing_and_can_be_closed(engine, paced):
    session = engine.open_session()
    speech = session.speak("Hello?", 0, lead_s=2 * FRAME_S, paced=paced, watch=False)
    assert speech.take() is not None
    alone(engine, 1, 5)
    steps = engine.steps
    time.sleep(0.05)
    assert engine.steps == steps
    assert engine.occupancy.speaking == 1
    session.close()
    assert speech.wait(5) == "cancelled"
    assert engine.occupancy.speaking == 0


def test_an_idle_engine_makes_no_steps(engine):
    steps = engine.steps
    time.sleep(0.1)
    assert engine.steps == steps
    assert engine.occupancy.speaking == 0


def test_one_session_too_many_is_refused_and_a_closed_one_makes_room(engine):
    sessions = [engine.open_session() for _ in range(4)]
    with pytest.raises(EngineBusyError, match="All 4 sessions"):
        engine.open_session()
    sessions.pop().close()
    deadline = time.monotonic() + 5
    while engine.occupancy.open == 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    engine.open_session().close()
    for session in sessions:
        session.close()


def test_a_reply_is_delayed_by_no_more_than_a_chunk_a_frame(pair, monkeypatch):
    checkpoint = pair().checkpoint
    runner = Runner(checkpoint.model, slots=3)
    events: list[str] = []
    step, chunk = runner.step, runner._prefill_chunk

    def noted(name, work):
        def call(*args):
            events.append(name)
            return work(*args)

        return call

    monkeypatch.setattr(runner, "step", noted("frame", step))
    monkeypatch.setattr(runner, "_prefill_chunk", noted("chunk", chunk))
    with Engine(runner, checkpoint.tokenizer) as engine:
        speaker, *readers = (engine.open_session() for _ in range(3))
        speech = speaker.speak("On and on.", 0, max_frames=2000, lead_s=math.inf, watch=False)
        events.clear()
        codes = torch.ones(550, 4, dtype=torch.long)
        long = [Segment("A.", 1, codes=codes), Segment("B.", 1, codes=codes)]
        with ThreadPoolExecutor() as others:
            list(others.map(lambda reader: reader.sync(long), readers))
        assert speech.ending is None
        assert events.count("chunk") == 10
    first = events.index("chunk")
    assert "chunk chunk" not in " ".join(events[first : first + 18])


def test_a_step_that_fails_ends_the_replies_in_words_and_the_engine_lives(pair, monkeypatch):
    checkpoint = pair().checkpoint
    runner = Runner(checkpoint.model, slots=2)
    with Engine(runner, checkpoint.tokenizer) as engine, engine.open_session() as session:
        working = runner.step
        monkeypatch.setattr(runner, "step", lambda: 1 / 0)
        speech = session.speak("Oh no.", 0)
        with pytest.raises(CSMError, match="failed while it spoke"):
            list(speech)
        assert speech.ending == "failed"
        monkeypatch.setattr(runner, "step", working)
        assert list(session.speak("Again.", 0, max_frames=3, watch=False))


def test_a_device_that_is_lost_stops_the_engine_and_everyone_is_told(pair, monkeypatch, caplog):
    checkpoint = pair().checkpoint
    runner = Runner(checkpoint.model, slots=2)

    def lost(_slot: int) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    with Engine(runner, checkpoint.tokenizer) as engine, engine.open_session() as session:
        monkeypatch.setattr(runner, "pause", lost)
        speech = session.speak("Oh no.", 0, lead_s=2 * FRAME_S, watch=False)
        assert speech.wait(10) == "failed"
        with pytest.raises(CSMError, match="The voice has stopped: CUDA error"):
            list(speech)
        engine._thread.join(5)
        assert "The voice has stopped" in caplog.text
        for work in (engine.open_session, engine.listen, lambda: session.sync([])):
            with pytest.raises(EngineClosedError):
                work()


def test_steps_that_keep_failing_are_a_lost_device(pair, monkeypatch):
    checkpoint = pair().checkpoint
    runner = Runner(checkpoint.model, slots=2)
    with Engine(runner, checkpoint.tokenizer) as engine, engine.open_session() as session:
        working = runner.step
        for _ in range(2):  # twice, and then it works again
            monkeypatch.setattr(runner, "step", lambda: 1 / 0)
            for _ in range(2):
                assert session.speak("Oh no.", 0).wait(10) == "failed"
            monkeypatch.setattr(runner, "step", working)
            assert list(session.speak("Again.", 0, max_frames=3, watch=False))
        assert engine.alive
        monkeypatch.setattr(runner, "step", lambda: 1 / 0)
        for _ in range(3):
            assert session.speak("Oh no.", 0).wait(10) == "failed"
        engine._thread.join(5)
        assert not engine.alive


def test_closing_ends_everything_at_once(pair):
    checkpoint = pair().checkpoint
    engine = Engine(Runner(checkpoint.model, slots=2), checkpoint.tokenizer)
    session = engine.open_session()
    speech = session.speak("To be continued.", 0, max_frames=2000, lead_s=math.inf, watch=False)
    engine.close()
    engine.close()
    assert speech.wait(1) in ("cancelled", "end", "limit")
    with pytest.raises(EngineClosedError):
        engine.open_session()
    with pytest.raises(EngineClosedError):
        session.sync(context(1))


def test_a_run_away_is_ended_and_said(engine):
    # Greedy and tiny, it soon repeats itself.
    with engine.open_session(SamplingOptions(temperature=0)) as session:
        for text in ("Go on.", "Hi.", "A", "Hm?"):
            speech = session.speak(text, 0, max_frames=250, lead_s=math.inf)
            if speech.wait(60) == "run-away":
                assert speech.runaway is not None
                return
    raise AssertionError("no text of four ran away")
