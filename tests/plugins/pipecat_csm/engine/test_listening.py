"""A caller is encoded while he speaks: whatever the chunks, the codes are those of the whole."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat_csm.engine.codec import Codec, FairLock
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import Runner, SamplingOptions
from pipecat_csm.errors import AudioError, EngineClosedError
from pipecat_csm.segment import Segment

FRAME = 64  # samples of the tiny model's


@pytest.fixture(scope="module")
def engine(pair):
    checkpoint = pair().checkpoint
    with Engine(Runner(checkpoint.model, slots=2), checkpoint.tokenizer) as engine:
        yield engine


def sound(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def whole(engine, audio: torch.Tensor) -> torch.Tensor:
    """What Mimi makes of the clip in one go."""
    return engine._runner.model.mimi.encode(audio.double()).T.cpu()


def listened(engine, chunks, **kwargs) -> torch.Tensor:
    listening = engine.listen(**kwargs)
    for chunk in chunks:
        listening.feed(chunk)
    return listening.finish()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 5 * FRAME), max_size=12), st.integers(0, 100))
def test_chunks_do_not_show(engine, chunks, seed):
    audio = sound(sum(chunks), seed)
    codes = listened(engine, audio.split(chunks) if chunks else [])
    assert codes.shape == (-(-len(audio) // FRAME), 4)
    if len(audio):
        assert torch.equal(codes, whole(engine, audio))
        assert torch.equal(codes, engine.encode(audio))


@pytest.mark.parametrize("frames", [31, 32, 33, 100])
def test_a_long_chunk_is_encoded_in_pieces(engine, frames):
    audio = sound(frames * FRAME + 5)
    assert torch.equal(listened(engine, [audio]), whole(engine, audio))


def test_arrays_are_taken_as_they_come_from_a_transport(engine):
    audio = sound(10 * FRAME)
    received = np.frombuffer(audio.numpy().tobytes(), np.float32)
    assert torch.equal(listened(engine, np.split(received, 5)), whole(engine, audio))


def test_the_segment_of_an_utterance_needs_no_encoding(engine, monkeypatch):
    codes = listened(engine, [sound(10 * FRAME)])
    assert not codes.is_inference()
    monkeypatch.setattr(Codec, "frames", lambda *_: 1 / 0)
    with engine.open_session(SamplingOptions(temperature=0)) as session:
        assert session.sync([Segment("Listen.", 1, codes=codes)]) > 10


def test_a_gain_is_applied_and_clipped(engine):
    audio = sound(10 * FRAME)
    expected = whole(engine, (audio * 8).clamp(-1, 1))
    assert (audio * 8).abs().max() > 1
    assert torch.equal(listened(engine, audio.split(50), gain=8.0), expected)


def test_utterances_at_once_do_not_hear_each_other(engine):
    clips = [sound(9 * FRAME, seed) for seed in range(3)]
    listenings = [engine.listen() for _ in clips]
    for begin in range(0, 9 * FRAME, 50):
        for clip, listening in zip(clips, listenings, strict=True):
            listening.feed(clip[begin : begin + 50])
    for clip, listening in zip(clips, listenings, strict=True):
        assert torch.equal(listening.finish(), whole(engine, clip))


def test_of_an_utterance_that_is_too_long_the_beginning_stays(engine):
    audio = sound(24 * 100)
    listening = engine.listen(max_s=0.05)
    listening.feed(audio[:700])
    with pytest.raises(AudioError, match=r"may last 0\.05 s; finish"):
        listening.feed(audio[700:])
    with pytest.raises(AudioError, match="may last"):
        listening.feed(audio[:1])
    assert torch.equal(listening.finish(), whole(engine, audio[:1200]))


def test_what_is_held_does_not_grow_but_for_the_codes(engine):
    listening = engine.listen()

    def held() -> int:
        tensors = (listening._rest, *listening._state.tensors())
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    listening.feed(sound(5))
    before = held()
    for _ in range(20):
        listening.feed(sound(10 * FRAME))
        assert held() == before


def test_after_its_end_it_says_so(engine):
    for end in ("finish", "cancel"):
        listening = engine.listen()
        listening.feed(sound(100))
        getattr(listening, end)()
        listening.cancel()
        assert listening._state is None
        with pytest.raises(AudioError, match="has ended"):
            listening.feed(sound(100))
        with pytest.raises(AudioError, match="has ended"):
            listening.finish()


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (torch.zeros(2, 64), "float samples"),
        (torch.zeros(64, dtype=torch.int16), "float samples"),
        (np.zeros(64, np.int16), "float samples"),
        ([0.0] * 64, "float samples"),
        (torch.full((64,), float("nan")), "NaN or infinity"),
    ],
)
def test_what_is_no_sound_is_refused_and_the_rest_is_heard(engine, samples, sentence):
    listening = engine.listen()
    with pytest.raises(AudioError, match=sentence):
        listening.feed(samples)
    audio = sound(100)
    listening.feed(audio)
    assert torch.equal(listening.finish(), whole(engine, audio))


@pytest.mark.parametrize("how", [{"gain": 0.0}, {"gain": float("nan")}, {"max_s": -1.0}])
def test_a_gain_or_duration_of_nothing_is_refused(engine, how):
    with pytest.raises(AudioError, match="must be above 0"):
        engine.listen(**how)


def test_what_stops_with_the_engine_says_so(pair):
    checkpoint = pair().checkpoint
    engine = Engine(Runner(checkpoint.model, slots=2), checkpoint.tokenizer)
    listening = engine.listen()
    engine.close()
    with pytest.raises(EngineClosedError):
        listening.feed(sound(2 * FRAME))
    with pytest.raises(EngineClosedError):
        engine.listen()
    with pytest.raises(EngineClosedError):
        engine.encode(sound(FRAME))


def test_a_long_clip_lets_others_in_between_its_pieces(pair, monkeypatch):
    codec = Codec(pair().checkpoint.model.mimi)
    order: list[int] = []
    encode_step = codec._mimi.encode_step

    def noted(audio, state):
        if not order:  # while the first piece is encoded the caller comes
            caller.start()
            while codec._turns.waiting < 2:
                pass
        order.append(audio.shape[1] // FRAME)
        return encode_step(audio, state)

    monkeypatch.setattr(codec._mimi, "encode_step", noted)
    caller = threading.Thread(target=codec.encode, args=(sound(FRAME),))
    codec.encode(sound(96 * FRAME))
    caller.join()
    assert order == [32, 1, 32, 32]


def test_a_lock_goes_to_whoever_waits_longest():
    lock, order = FairLock(), []

    def call(name: int) -> None:
        with lock:
            order.append(name)

    threads = [threading.Thread(target=call, args=(name,)) for name in range(4)]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            while lock.waiting < number + 2:
                pass
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
