"""What a slot has read is what the history says, whatever happened to the history."""

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.errors import ContextError, EngineClosedError
from pipecat_csm.segment import Segment

FRAME_S = 64 / 24_000  # of the tiny model
GREEDY = SamplingOptions(temperature=0)


@pytest.fixture(scope="module", params=[False, True], ids=["at once", "late"])
def engine(pair, request):
    checkpoint = pair().checkpoint
    with Engine(
        Runner(checkpoint.model, slots=3), checkpoint.tokenizer, late=request.param
    ) as engine:
        yield engine


@pytest.fixture
def session(engine):
    with engine.open_session(GREEDY) as session:
        yield session


def segment(number: int, frames: int = 6, **kwargs) -> Segment:
    codes = torch.randint(0, 16, (frames, 4), generator=torch.Generator().manual_seed(number))
    return Segment(f"This is number {number}.", number % 2, codes=codes, **kwargs)


def said(session, text="How are you?", context=None, frames=12) -> np.ndarray:
    speech = session.speak(text, 0, context=context, max_frames=frames, watch=False)
    speech.wait()
    return speech.codes


def rows(segment: Segment) -> int:
    assert segment.codes is not None
    return (
        len(f"[{segment.speaker}]{segment.text}")
        - segment.text.count("th")
        + 2
        + len(segment.codes)
        + 1
    )


def test_only_what_is_new_is_read(session):
    first, second = segment(1), segment(2)
    assert session.sync([first]) == rows(first)
    assert session.sync([first]) == 0
    assert session.sync([first, second]) == rows(second)
    assert session.positions == rows(first) + rows(second)


def test_a_crop_is_read_from_where_it_differs(session):
    first, second = segment(1), segment(2)
    session.sync([first, second])
    # The words are the same, so only the frames after the crop go, and the closing one comes.
    assert session.sync([first, second.cropped(4, second.text)]) == 1
    shorter = second.cropped(3, "This is")
    assert 0 < session.sync([first, shorter]) < rows(second)


def test_what_it_said_itself_is_not_read_again(session):
    first = segment(1)
    codes = said(session, "How are you?", [first])
    reply = Segment("How are you?", 0, codes=torch.from_numpy(codes))
    # The last frame was not fed yet, and the closing one is new.
    assert session.sync([first, reply]) == 2


def test_a_barge_in_keeps_what_was_heard(session):
    first = segment(1)
    speech = session.speak("How are you?", 0, context=[first], max_frames=200, watch=False)
    for _ in range(5):
        speech.take()
    speech.cancel()
    assert speech.wait() == "cancelled"
    made = torch.from_numpy(speech.codes)
    heard = Segment("How are you?", 0, codes=made).cropped(3, "How are you?")
    assert session.sync([first, heard]) == 1


def test_a_withdrawn_reply_leaves_no_trace(engine, session):
    first = segment(1)
    expected = said(session, context=[first])
    said(session, "Something else, on trial.", [first])
    assert np.array_equal(said(session, context=[first]), expected)


def test_audio_is_encoded_once_and_like_its_codes(engine, session):
    audio = torch.randn(640, generator=torch.Generator().manual_seed(3)) * 0.1
    sounding = Segment("Listen.", 1, audio=audio)
    assert session.sync([sounding]) > 0
    assert session.sync([sounding]) == 0
    assert session.sync([sounding.with_codes(engine.encode(audio))]) == 0


ACTIONS = st.lists(
    st.sampled_from(["append", "crop", "drop oldest", "withdraw", "reply", "barge in", "other"]),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ACTIONS, st.integers(0, 2**31))
def test_resident_is_the_same_as_recomputed(engine, actions, seed):
    chance = np.random.default_rng(seed)
    history: list[Segment] = []
    with engine.open_session(GREEDY) as session:
        for action in actions:
            match action:
                case "append":
                    history.append(segment(int(chance.integers(100)), int(chance.integers(1, 9))))
                case "crop" if history:
                    codes = history[-1].codes
                    assert codes is not None
                    kept = int(chance.integers(0, len(codes) + 1))
                    history[-1] = history[-1].cropped(kept, history[-1].text[:7])
                case "drop oldest":
                    history = history[1:]
                case "withdraw":
                    said(session, "Perhaps.", history, frames=3)
                case "reply":
                    codes = torch.from_numpy(said(session, "Certainly.", history, frames=5))
                    if len(codes):
                        history.append(Segment("Certainly.", 0, codes=codes))
                case "barge in":
                    speech = session.speak("Well then.", 0, context=history, max_frames=100)
                    for _ in range(int(chance.integers(6))):
                        speech.take()
                    speech.cancel()
                    speech.wait()
                case "other":
                    session.sync([segment(77)])
        resident = said(session, context=history)
        with engine.open_session(GREEDY) as fresh:
            recomputed = said(fresh, context=history)
    assert np.array_equal(resident, recomputed)


def test_what_cannot_fit_is_refused_and_the_session_lives(engine, session):
    first = segment(1)
    expected = said(session, context=[first])
    with pytest.raises(ContextError, match="no room to speak"):
        session.speak("a" * 2048, 0, context=[first])
    with pytest.raises(ContextError, match="may take 512"):
        engine.open_session(references=[segment(3, frames=500)])
    assert np.array_equal(said(session, context=[first]), expected)


def test_of_a_monologue_longer_than_the_window_the_end_stays(session):
    monologue = segment(2, frames=2500)
    assert monologue.codes is not None
    assert 500 < session.sync([segment(1), monologue]) <= rows(segment(1)) + 600
    end = session.kept[-1]
    assert monologue.text.endswith(end.text)
    assert end.codes is not None
    assert torch.equal(end.codes, monologue.codes[-len(end.codes) :])
    assert len(said(session))


def test_a_text_that_leaves_a_little_room_is_spoken_that_long(session):
    # "[0]", begin and end: the history leaves, and 40 positions remain.
    codes = said(session, "a" * (2048 - 40 - 5), [segment(1)], frames=100)
    assert 0 < len(codes) <= 40


def test_a_second_reply_follows_what_was_synced_not_the_first(session):
    session.sync([segment(1)])
    first = said(session)
    assert np.array_equal(said(session), first)


def test_a_segment_without_sound_is_refused_as_context(session):
    with pytest.raises(ContextError, match="neither audio nor codes"):
        session.speak("Yes.", 0, context=[Segment("What?", 1)])


@pytest.fixture
def asked(engine, session, monkeypatch) -> list[float]:
    """The playout buffers with which the session asked for something to be read."""
    buffers: list[float] = []
    read = engine.read

    def noted(session, slot, prompt, at, buffered_s):
        buffers.append(buffered_s())
        return read(session, slot, prompt, at, buffered_s)

    monkeypatch.setattr(engine, "read", noted)
    return buffers


def test_what_is_still_playing_lets_a_session_wait_for_its_turn(
    engine, session, asked, monkeypatch
):
    monkeypatch.setattr(engine, "clock", lambda: 5.0)
    speech = session.speak("How are you?", 0, max_frames=9, paced=True, watch=False)
    made = len(list(speech))
    speech.report_played(2 * FRAME_S)
    session.sync([segment(1)])
    assert asked == [0.0, pytest.approx((made - 2) * FRAME_S)]
    speech.report_played(made * FRAME_S)
    session.sync([segment(2)])
    assert asked[-1] == pytest.approx(0.0)


def test_what_was_cut_off_does_not(session, asked):
    speech = session.speak("How are you?", 0, max_frames=900, paced=True, watch=False)
    speech.take()
    speech.cancel()
    session.sync([segment(1)])
    assert asked == [0.0, 0.0]


def test_a_reply_that_could_not_start_is_no_part_of_what_was_read(engine, session, monkeypatch):
    first = segment(1)
    expected = said(session, context=[first])
    with monkeypatch.context() as patch:
        patch.setattr(engine._runner, "begin", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.speak("Something else.", 0, context=[first])
    assert session.sync([first]) == 0
    assert np.array_equal(said(session, context=[first]), expected)


@pytest.mark.parametrize("last", ["_settle", "_read_up_to"])
def test_a_session_closed_just_before_it_asks_does_nothing_to_the_next_one_there(
    engine, monkeypatch, last
):
    first = engine.open_session(GREEDY)
    work, closing = getattr(first, last), threading.Thread(target=first.close)

    def and_is_closed(*args):
        result = work(*args)
        closing.start()
        while first in engine._sessions:
            time.sleep(0.001)
        second.append(engine.open_session(GREEDY))
        second[0].sync([segment(1)])
        return result

    second = []
    monkeypatch.setattr(first, last, and_is_closed)
    with pytest.raises(EngineClosedError):
        first.speak("Too late.", 0, context=[segment(2)])
    closing.join()
    with second[0] as session:
        assert session._slot == first._slot
        resident = said(session)
        with engine.open_session(GREEDY) as fresh:
            assert np.array_equal(resident, said(fresh, context=[segment(1)]))


def test_a_closed_session_says_so(engine):
    session = engine.open_session(GREEDY)
    session.close()
    session.close()
    with pytest.raises(EngineClosedError):
        session.sync([])
