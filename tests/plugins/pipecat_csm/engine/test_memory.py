"""Where memory runs out one call fails, in words, and nobody else notices."""

import weakref

import numpy as np
import pytest
import torch
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.memory import in_words, memory_in_words
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.errors import DeviceMemoryError
from pipecat_csm.segment import Segment

GREEDY = SamplingOptions(temperature=0)
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")


class Machine:
    """An engine whose memory can be made to run out."""

    def __init__(self, checkpoint, *, late: bool) -> None:
        self.runner = Runner(checkpoint.model, slots=4)
        self.engine = Engine(self.runner, checkpoint.tokenizer, late=late, spares=1)

    def runs_out(self, patch, part: str, error: Exception = CUDA) -> None:
        """The next time that this is done; afterwards there is memory again."""
        owner = self.runner.model.mimi if part.startswith("encode") else self.runner
        working = getattr(owner, part)

        def fail(*_, **__):
            patch.setattr(owner, part, working)
            raise error

        patch.setattr(owner, part, fail)


@pytest.fixture(params=[False, True], ids=["at once", "late"])
def machine(pair, request):
    machine = Machine(pair().checkpoint, late=request.param)
    with machine.engine:
        yield machine


@pytest.fixture
def engine(machine):
    return machine.engine


def segment(number: int, frames: int = 6) -> Segment:
    codes = torch.randint(0, 16, (frames, 4), generator=torch.Generator().manual_seed(number))
    return Segment(f"This is number {number}.", 1, codes=codes)


def sounding(samples: int = 300) -> Segment:
    return Segment("Listen.", 1, audio=torch.zeros(samples))


def said(session, text: str = "How are you?") -> np.ndarray:
    speech = session.speak(text, 0, context=[segment(1)], max_frames=9, watch=False)
    speech.wait(10)
    return speech.codes


def test_a_session_whose_voice_cannot_be_encoded_is_refused_and_takes_no_slot(
    machine, engine, monkeypatch
):
    for part in ("encode_state", "encode_step"):
        machine.runs_out(monkeypatch, part)
        with pytest.raises(DeviceMemoryError, match="while it encoded sound; hold fewer sessions"):
            engine.open_session(references=[sounding()])
    assert engine.occupancy.open == 0
    for _ in range(engine.occupancy.slots):
        engine.open_session(references=[sounding()])


def test_a_history_that_cannot_be_encoded_can_be_given_again(machine, engine, monkeypatch):
    with engine.open_session(GREEDY) as session:
        before = session.sync([segment(1)])
        machine.runs_out(monkeypatch, "encode_step", CPU)
        history = [segment(1), sounding()]
        with pytest.raises(DeviceMemoryError):
            session.sync(history)
        assert session.sync(history) > 0
        assert session.positions > before


def test_an_utterance_that_cannot_be_encoded_has_ended(machine, engine, monkeypatch):
    listening, other = engine.listen(), engine.listen()
    machine.runs_out(monkeypatch, "encode_step")
    with pytest.raises(DeviceMemoryError):
        listening.feed(torch.zeros(100))
    assert listening._state is None
    other.feed(torch.zeros(100))
    assert len(other.finish()) == 2


@pytest.mark.parametrize("part", ["_prefill_chunk", "begin"])
def test_what_cannot_be_read_or_begun_fails_that_call_alone(machine, engine, monkeypatch, part):
    with engine.open_session(GREEDY) as session, engine.open_session(GREEDY) as other:
        expected = said(other)
        speech = other.speak("Go on.", 0, max_frames=500, lead_s=0.01, watch=False)
        machine.runs_out(monkeypatch, part)
        with pytest.raises(DeviceMemoryError, match="The device ran out of memory while it"):
            said(session)
        assert np.array_equal(said(session), expected)
        assert speech.take(10) is not None
        speech.cancel()
        assert speech.wait(10) == "cancelled"


def test_replies_in_a_step_that_finds_no_memory_fail_and_their_sessions_read_anew(
    machine, engine, monkeypatch
):
    with engine.open_session(GREEDY) as session, engine.open_session(GREEDY) as other:
        expected = said(other)
        session.sync([segment(1)])
        machine.runs_out(monkeypatch, "step")
        speech = session.speak("Oh no.", 0, watch=False)
        with pytest.raises(DeviceMemoryError, match="while it spoke; hold fewer sessions"):
            list(speech)
        assert engine.occupancy.speaking == 0
        assert np.array_equal(said(session), expected)
        assert np.array_equal(said(other), expected)


def test_what_was_read_ahead_and_cannot_be_copied_is_read_anew(machine, engine, monkeypatch):
    history = [segment(number, 150) for number in range(9)]
    after = [*history, segment(9)]
    with engine.open_session(GREEDY) as session:
        session.sync(history)
        machine.runs_out(monkeypatch, "copy")
        with pytest.raises(DeviceMemoryError):
            session.sync(after)
        assert session.sync(after) == session.positions
    assert engine.borrow() is not None


def test_other_errors_are_left_as_they_are():
    for error in (RuntimeError("CUDA error: device-side assert"), ValueError("out of memory")):
        assert in_words(error, "while it spoke") is error
        with pytest.raises(type(error), match=str(error)), memory_in_words("while it spoke"):
            raise error


@pytest.mark.parametrize("error", [CUDA, CPU, MemoryError(), RuntimeError("CUDA out of memory")])
def test_what_did_fit_is_not_kept_by_the_error(error):
    def work():
        large = torch.zeros(10)
        seen.append(weakref.ref(large))
        raise type(error)(*error.args)

    seen: list[weakref.ref] = []
    with pytest.raises(DeviceMemoryError) as caught, memory_in_words("while it spoke"):
        work()
    assert caught.value.__suppress_context__
    assert seen[0]() is None
