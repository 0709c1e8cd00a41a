"""Long conversations in a short window: an engine of 256 positions, whose limits are an eighth.

The references may take 64, a Segment 75, a reply's frames 31; past 192 the oldest leave, to 128.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.errors import EngineClosedError
from pipecat_csm.segment import Segment

GREEDY = SamplingOptions(temperature=0)
POSITIONS, HIGH = 256, 192
SPARE = 4
TEXT = "Yes."
TEXT_ROWS = len("[0]" + TEXT) + 2
QUIET = settings(
    max_examples=7, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Bench:
    """An engine, and its runner to look into."""

    def __init__(self, checkpoint, sessions: int, spares: int, *, late: bool = False) -> None:
        self.runner = Runner(checkpoint.model, slots=sessions + spares, positions=POSITIONS)
        self.engine = Engine(self.runner, checkpoint.tokenizer, spares=spares, late=late)

    def is_quiet(self) -> bool:
        """Waits until nothing is being read."""
        before = -1
        while before != (before := self.engine.prefilled_rows):
            time.sleep(0.05)
        return True


@pytest.fixture
def bench(pair, request):
    late = getattr(request, "param", False)
    bench = Bench(pair().checkpoint, sessions=SPARE, spares=1, late=late)
    with bench.engine:
        yield bench


@pytest.fixture
def engine(bench):
    return bench.engine


def segment(number: int, frames: int = 20, words: str = "Well then.") -> Segment:
    codes = torch.randint(0, 16, (frames, 4), generator=torch.Generator().manual_seed(number))
    return Segment(words, 1, codes=codes)


REFERENCE = segment(999, 30, "My voice.")
ROWS = len("[1]Well then.") - 2 + 2 + 20 + 1  # "the" is one token
LONG = [segment(number) for number in range(6)]  # past the high mark


def said(session, context=None, frames=8) -> np.ndarray:
    speech = session.speak(TEXT, 0, context=context, max_frames=frames, watch=False)
    speech.wait()
    return speech.codes


def afresh(engine, references, history, frames=8) -> np.ndarray:
    with engine.open_session(GREEDY, references) as session:
        return said(session, history, frames)


def test_a_turn_without_eviction_reads_only_what_is_new(engine):
    with engine.open_session(GREEDY, [REFERENCE]) as session:
        session.sync([])
        assert session.positions == len("[1]My voice.") + 2 + 30 + 1
        for turn in range(1, 4):
            assert session.sync(LONG[:turn]) == ROWS
        before = engine.prefilled_rows
        said(session)
        assert engine.prefilled_rows - before == TEXT_ROWS - 1
    assert engine.rebuilds_waited == 0


def test_a_rebuild_goes_on_beside_and_the_next_reply_reads_only_its_text(bench, engine):
    with engine.open_session(GREEDY) as session:
        session.sync(LONG)
        assert session.positions == 6 * ROWS > HIGH
        assert bench.is_quiet()
        assert engine.prefilled_rows == 6 * ROWS + 3 * ROWS, "three stay: 128 hold no fourth"
        after = [*LONG, segment(7)]
        assert session.sync(after) == ROWS
        assert session.kept == (*LONG[3:], after[-1])
        before = engine.prefilled_rows
        resident = said(session)
        assert engine.prefilled_rows - before == TEXT_ROWS - 1
        assert engine.rebuilds_waited == 0
        assert np.array_equal(resident, afresh(engine, [], session.kept))


def test_a_rebuild_beside_a_reply_changes_nothing_of_it(bench, engine):
    expected = afresh(engine, [], LONG[:4], frames=30)
    with engine.open_session(GREEDY) as other, engine.open_session(GREEDY) as session:
        speech = other.speak(TEXT, 0, context=LONG[:4], max_frames=30, watch=False)
        session.sync(LONG)
        assert bench.is_quiet()
        speech.wait()
        assert np.array_equal(speech.codes, expected)


def test_the_agent_need_call_nothing_but_speak(bench, engine):
    history: list[Segment] = []
    oldest = set()
    with engine.open_session(GREEDY, [REFERENCE]) as session:
        for turn in range(16):
            history.append(segment(turn, 15))
            codes = torch.from_numpy(said(session, history))
            oldest.add(session.kept[0].id)
            assert bench.is_quiet()
            if len(codes):
                history.append(Segment(TEXT, 0, codes=codes))
        assert np.array_equal(said(session, history), afresh(engine, [REFERENCE], history)), (
            "and a session that sees it all at once keeps the same"
        )
    assert 3 < len(oldest) < 12, "the history moved on several times, but not every turn"
    assert engine.rebuilds_waited == 0


def test_without_a_spare_slot_the_wait_is_counted_and_logged(pair, caplog):
    bench = Bench(pair().checkpoint, sessions=1, spares=0)
    with bench.engine as engine, engine.open_session(GREEDY) as session:
        session.sync(LONG)
        session.sync([*LONG, segment(7)])
        assert engine.rebuilds_waited == 1
        assert "waits while its shortened context of" in caplog.text
        # And then none for long.
        session.sync([*LONG, segment(7), segment(8, 5)])
        assert engine.rebuilds_waited == 1


def test_a_session_that_needs_what_is_still_being_read_ahead_has_it_hurried(
    bench, engine, monkeypatch
):
    go_on, hurried = threading.Event(), []
    prefill, hurry = bench.runner.prefill, engine.hurry

    def slowly(slot, prompt, at):
        while slot == SPARE and not go_on.is_set():
            yield
        yield from prefill(slot, prompt, at)

    def noted(slot, buffered_s):
        hurried.append(slot)
        hurry(slot, buffered_s)
        go_on.set()

    monkeypatch.setattr(bench.runner, "prefill", slowly)
    monkeypatch.setattr(engine, "hurry", noted)
    with engine.open_session(GREEDY) as session:
        session.sync(LONG)
        assert session.sync([*LONG, segment(7)]) == ROWS
    assert hurried == [SPARE]
    assert engine.rebuilds_waited == 1


def test_one_spare_slot_serves_sessions_in_turn(bench, engine):
    more = [*LONG, segment(7)]
    with engine.open_session(GREEDY) as one, engine.open_session(GREEDY) as other:
        one.sync(LONG)
        assert bench.is_quiet()
        other.sync(LONG)  # the one is silent and gives up the spare slot
        assert bench.is_quiet()
        assert np.array_equal(said(one, more), said(other, more))
        assert one.kept == other.kept == tuple(more[3:])
        assert engine.rebuilds_waited == 0


def test_a_closed_session_gives_the_spare_slot_back(bench, engine):
    for _ in range(3):
        session = engine.open_session(GREEDY)
        session.sync(LONG)
        session.close()
        assert bench.is_quiet()
        spare = engine.borrow()
        assert spare == SPARE
        engine.give_back(spare)
        assert bench.is_quiet()


def test_a_closed_session_reads_no_more(bench, engine, monkeypatch):
    """Or the next one on the slot would find rows of this one's among its own."""

    def endless(*_):
        while True:
            yield

    with monkeypatch.context() as patch:
        patch.setattr(bench.runner, "prefill", endless)
        session = engine.open_session(GREEDY)
        with ThreadPoolExecutor() as others:
            reading = others.submit(session.sync, LONG)
            time.sleep(0.05)
            session.close()
            assert isinstance(reading.exception(5), EngineClosedError)
    with engine.open_session(GREEDY) as session:
        assert session.sync(LONG[:1]) == ROWS


def test_too_long_a_segment_is_read_from_its_end(engine):
    words = "one two three four five six"
    monologue = segment(1, 150, words)
    with engine.open_session(GREEDY) as session:
        session.sync([monologue, segment(2)])
        end, _ = session.kept
        assert session.positions <= 75 + ROWS
        assert words.endswith(end.text)
        assert end.codes is not None
        assert monologue.codes is not None
        assert end.codes.equal(monologue.codes[-len(end.codes) :])
        assert session.sync([monologue, segment(3, words="A"), segment(2)]) < 75, "and only once"
        session.sync([segment(1, 150, "Aaaaaaaaaaaah"), segment(2)])
        assert len(session.kept) == 1, "without a word it is left out"


def test_another_conversation_begins_with_all_of_its_own(engine):
    with engine.open_session(GREEDY) as session:
        session.sync([*LONG, segment(7)])
        session.restart()
        session.sync(LONG)
        assert session.kept == tuple(LONG)


ACTIONS = st.lists(
    st.sampled_from(["user", "user", "reply", "reply", "barge in", "withdraw", "sync", "rest"]),
    min_size=10,
    max_size=24,
)


@pytest.mark.parametrize("bench", [False, True], indirect=True, ids=["at once", "late"])
@QUIET
@given(ACTIONS, st.integers(0, 2**31))
def test_resident_is_recomputed_through_many_evictions(pair, bench, engine, actions, seed):
    chance = np.random.default_rng(seed)
    history: list[Segment] = []
    with engine.open_session(GREEDY, [REFERENCE]) as session:
        for action in actions:
            match action:
                case "user":
                    frames = int(chance.integers(1, 100))
                    words = " ".join(["Right."] * int(chance.integers(2, 5)))
                    history.append(segment(int(chance.integers(1000)), frames, words))
                case "reply":
                    codes = torch.from_numpy(said(session, history, frames=20))
                    if len(codes):
                        history.append(Segment(TEXT, 0, codes=codes))
                case "barge in":
                    speech = session.speak(TEXT, 0, context=history, max_frames=99)
                    if speech.take() is not None:
                        speech.cancel()
                        speech.wait()
                        made = Segment(TEXT, 0, codes=torch.from_numpy(speech.codes))
                        history.append(made.cropped(1, "Y"))
                case "withdraw":
                    said(session, [*history, segment(1)], frames=3)
                case "sync":
                    session.sync(history)
                case "rest":
                    bench.is_quiet()
            assert session.positions <= POSITIONS
            assert max(bench.runner._position) <= POSITIONS
            assert int(bench.runner.state.position.max()) <= POSITIONS
        resident = said(session, history)
        assert np.array_equal(resident, afresh(engine, [REFERENCE], session.kept))
        assert [kept.id for kept in session.kept] == [
            segment.id for segment in history[len(history) - len(session.kept) :]
        ]
        # The references are where they were.
        assert session.sync([]) == 0
