"""Sessions are kept by the references that they have read, and no more of them than slots."""

import threading
from contextlib import ExitStack

import pytest
import torch
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.errors import ContextError, EngineBusyError
from pipecat_csm.pool import SessionPool
from pipecat_csm.segment import Segment

GREEDY = SamplingOptions(temperature=0)


@pytest.fixture
def engine(pair):
    checkpoint = pair().checkpoint
    with Engine(Runner(checkpoint.model, slots=2), checkpoint.tokenizer) as engine:
        yield engine


@pytest.fixture
def pool(engine):
    return SessionPool(engine)


def voice(number: int, **kwargs) -> Segment:
    codes = torch.randint(0, 16, (9, 4), generator=torch.manual_seed(number))
    return Segment("This is me.", 0, codes=codes, **kwargs)


ANN, BOB, EVE = voice(1), voice(2), voice(3)


def lent(pool, *references):
    with pool.session(GREEDY, references) as session:
        return session


def test_the_same_references_find_their_session_again(engine, pool):
    first = lent(pool, ANN, BOB)
    assert lent(pool, ANN, BOB) is first
    assert lent(pool, BOB, ANN) is not first, "their order matters"
    assert engine.occupancy.open == 2


def test_other_references_and_none_have_sessions_of_their_own(engine, pool):
    ann, plain = lent(pool, ANN), lent(pool)
    assert ann is not plain
    assert lent(pool, ANN) is ann
    assert lent(pool) is plain
    assert engine.occupancy.open == 2


def test_another_revision_is_another_reference(pool):
    cropped = ANN.cropped(5, "This is")
    assert lent(pool, cropped) is not lent(pool, ANN)


def test_where_all_slots_are_taken_the_one_idle_longest_is_closed(engine, pool):
    ann, bob = lent(pool, ANN), lent(pool, BOB)
    assert lent(pool, ANN) is ann, "so that it is Bob's now"
    eve = lent(pool, EVE)
    assert engine.occupancy.open == 2
    assert lent(pool, ANN) is ann
    assert lent(pool, EVE) is eve
    assert lent(pool, BOB) is not bob


def test_of_two_idle_ones_the_one_used_last_is_lent(pool):
    with pool.session(GREEDY, [ANN]) as first, pool.session(GREEDY, [ANN]) as second:
        assert first is not second
    assert lent(pool, ANN) is first, "the outer one came back last"


def test_what_is_in_use_is_never_closed(engine, pool):
    with ExitStack() as calls:
        used = [calls.enter_context(pool.session(GREEDY, [voice])) for voice in (ANN, BOB)]
        with pytest.raises(EngineBusyError, match="All 2 sessions"), pool.session(GREEDY, [EVE]):
            pass
        for session in used:
            assert session.speak("Yes.", 0, max_frames=2).wait()
    assert lent(pool, EVE) not in used, "and now there is room"
    assert engine.occupancy.open == 2


def test_a_session_comes_back_whatever_happened_to_the_call(engine, pool):
    with pytest.raises(KeyboardInterrupt), pool.session(GREEDY, [ANN]) as session:
        raise KeyboardInterrupt
    assert lent(pool, ANN) is session


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (Segment("No sound.", 0), "neither audio nor codes"),
        (Segment("Long.", 0, codes=torch.zeros(600, 4, dtype=torch.int64)), "may take 512"),
        (Segment("Other.", 0, codes=torch.zeros(6, 5, dtype=torch.int64)), "codes are of shape"),
    ],
)
def test_references_that_cannot_be_used_keep_no_slot(engine, pool, reference, said):
    for _ in range(3):
        with pytest.raises(ContextError, match=said), pool.session(GREEDY, [reference]):
            pass
    with pool.session(GREEDY, [ANN]), pool.session(GREEDY, [BOB]):
        assert engine.occupancy.open == 2


def test_sound_is_encoded_once_for_a_session_even_where_another_must_make_room(
    engine, pool, monkeypatch
):
    encoded, encode = [], engine.encode
    monkeypatch.setattr(engine, "encode", lambda audio: encoded.append(1) or encode(audio))
    heard = Segment("This is me.", 0, audio=torch.randn(640) * 0.1)
    for other in (ANN, BOB):
        lent(pool, other)
    for _ in range(3):
        lent(pool, heard)
    assert len(encoded) == 1


def test_many_threads_with_voices_of_their_own_each_have_the_right_one(engine, pool):
    # As many at once as there are slots, so that none may ever be refused.
    turns = threading.Semaphore(2)
    voices = {name: voice(number) for number, name in enumerate("abcd")}

    def says(name: str) -> list[list[int]]:
        with pool.session(GREEDY, [voices[name]]) as session:
            speech = session.speak("Hello.", 0, max_frames=4, number=0, watch=False)
            speech.wait()
            return speech.codes.tolist()

    expected = {name: says(name) for name in voices}
    assert len({str(codes) for codes in expected.values()}) == 4
    wrong: list[object] = []

    def call(name: str) -> None:
        for _ in range(6):
            with turns:
                try:
                    codes = says(name)
                except Exception as error:
                    wrong.append(error)
                else:
                    if codes != expected[name]:
                        wrong.append((name, codes))

    threads = [threading.Thread(target=call, args=(name,)) for name in voices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert engine.occupancy.open == 2
    assert engine.occupancy.speaking == 0
