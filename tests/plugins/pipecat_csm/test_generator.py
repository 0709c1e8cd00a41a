"""The Python API as people write it."""

import threading

import numpy as np
import pytest
import torch
from pipecat_csm import Segment, generate_streaming_audio, load_csm_1b
from pipecat_csm.wav import read_wav

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

LONG = " ".join(
    f"This is sentence number {word}." for word in ["one", "two", "three", "four", "five"] * 4
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def generator(folder):
    with load_csm_1b(device="cpu", checkpoint=folder, dtype=torch.float64) as generator:
        yield generator


def sound(seed: int, frames: int = 9) -> torch.Tensor:
    return torch.randn(frames * 64, generator=torch.manual_seed(seed)) * 0.1


def test_a_text_becomes_sound_in_a_context(generator):
    context = [Segment(text="What is it?", speaker=1, audio=sound(1))]
    audio = generator.generate(
        text="It is a boat.",
        speaker=0,
        context=context,
        max_audio_length_ms=1600,
        temperature=0.9,
        topk=50,
        seed=1,
    )
    assert generator.sample_rate == 24_000
    assert audio.dtype == torch.float32
    assert audio.ndim == 1
    assert 0 < len(audio) <= 20 * 64
    assert audio.square().mean().sqrt() > 0.01


def test_streamed_is_the_same_as_whole(generator):
    whole = generator.generate("One two. Three.", 0, [], 2000, seed=5)
    chunks = list(generator.generate_stream("One two. Three.", 0, [], 2000, seed=5))
    assert all(len(chunk) == 64 for chunk in chunks)
    assert torch.equal(torch.cat(chunks), whole)


def test_another_context_and_another_seed_are_heard(generator):
    def codes(context=(), **kwargs):
        return generator.generate_frames("Hello.", 0, context, 10, **kwargs)

    assert torch.equal(codes(temperature=0), codes(temperature=0))
    context = [Segment("What is it?", 1, audio=sound(1))]
    assert not torch.equal(codes(temperature=0), codes(context, temperature=0))
    assert not torch.equal(codes(seed=1), codes(seed=2))
    assert not torch.equal(codes(), codes()), "another time, another way to say it"


def test_frames_are_codes(generator):
    frames = generator.generate_frames(
        text="Hello.", speaker=0, context=[], max_frames=12, temperature=0
    )
    assert frames.dtype == torch.int64
    assert frames.shape[1] == 4
    assert 0 < len(frames) <= 12
    assert 0 <= frames.min() <= frames.max() < 16


def test_a_long_text_is_spoken_piece_by_piece_each_after_those_before(generator):
    spoken: list[Segment] = []
    audio = torch.cat(list(generator.generate_stream(LONG, 0, seed=3, spoken=spoken)))
    assert len(spoken) > 1
    assert " ".join(segment.text for segment in spoken) == LONG
    lengths = [len(segment.codes) for segment in spoken if segment.codes is not None]
    assert len(audio) == 64 * sum(lengths)


def test_a_conversation_that_goes_on_is_not_read_anew(generator):
    spoken: list[Segment] = [Segment("What is it?", 1, audio=sound(2, frames=40))]
    for _ in generator.generate_stream("A boat.", 0, list(spoken), 1000, seed=1, spoken=spoken):
        pass
    before = generator.engine.prefilled_rows
    for _ in generator.generate_stream("Yes.", 1, spoken, 800, seed=1):
        pass
    # The last frame, the closing one, and "[1]Yes." between begin and end, less its last row.
    assert generator.engine.prefilled_rows - before <= 2 + 7 + 2


def test_who_stops_listening_stops_the_speech(generator):
    stream = generator.generate_stream(LONG, 0, seed=1)
    next(stream)
    stream.close()
    assert generator.engine.occupancy.speaking == 0


def test_two_at_once_do_not_hear_each_other(generator):
    expected = [generator.generate("Hello there.", 0, [], 1600, seed=seed) for seed in (1, 2)]
    got: dict[int, torch.Tensor] = {}

    def call(seed: int) -> None:
        got[seed] = generator.generate("Hello there.", 0, [], 1600, seed=seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.allclose(got[1], expected[0], atol=1e-6)
    assert torch.allclose(got[2], expected[1], atol=1e-6)


def test_a_file_is_written_while_it_is_spoken(generator, tmp_path):
    path = tmp_path / "out.wav"
    audio = generate_streaming_audio(
        generator=generator,
        text="Hello there.",
        speaker=0,
        context=[],
        output_file=path,
        max_audio_length_ms=1600,
        seed=1,
    )
    written, rate = read_wav(path)
    assert rate == 24_000
    assert np.allclose(written[:, 0], np.clip(audio, -1, 1), atol=1e-4)


def voice(number: int) -> Segment:
    codes = torch.randint(0, 16, (30, 4), generator=torch.manual_seed(number))
    return Segment("This is me.", 0, codes=codes)


def test_references_and_a_context_that_begins_with_them_sound_the_same(generator):
    reference = Segment("This is me.", 0, audio=sound(4))
    heard = Segment("What is it?", 1, audio=sound(5))
    apart = generator.generate("A boat.", 0, [heard], 800, references=[reference], seed=1)
    inside = generator.generate("A boat.", 0, [reference, heard], 800, seed=1)
    assert len(apart)
    assert torch.equal(apart, inside)
    frames = [
        generator.generate_frames("A boat.", 0, [heard], 8, temperature=0, references=[one])
        for one in (reference, voice(6))
    ]
    assert not torch.equal(*frames)


def test_references_stay_where_a_dialogue_grows_longer_than_the_window(generator):
    codes = torch.randint(0, 16, (480, 4), generator=torch.manual_seed(7))
    dialogue = [Segment("It goes on and on.", n % 2, codes=codes) for n in range(5)]

    def said(context, references=()):
        return generator.generate_frames("Hello.", 0, context, 8, 0, references=references)

    ann, bob = voice(1), voice(2)
    assert torch.equal(said([ann, *dialogue]), said([bob, *dialogue])), "out of the context"
    assert not torch.equal(said(dialogue, [ann]), said(dialogue, [bob]))
    assert torch.equal(said(dialogue, [ann]), said([bob, *dialogue], [ann])), "Bob alone left"


def test_references_are_read_once_for_all_calls(generator):
    reference, before = voice(3), generator.engine.prefilled_rows
    generator.generate("Yes.", 0, [], 400, references=[reference], seed=1)
    first = generator.engine.prefilled_rows - before
    generator.generate("Yes.", 0, [], 400, references=[reference], seed=2)
    assert generator.engine.prefilled_rows - before - first < 10 < 30 < first


def test_a_file_may_be_spoken_with_references(generator, tmp_path):
    def written(name: str, **kwargs) -> np.ndarray:
        return generate_streaming_audio(
            generator, "Hello.", 0, (), tmp_path / name, 800, seed=1, **kwargs
        )

    plain, voiced = written("a.wav"), written("b.wav", references=[voice(1)])
    assert plain.shape != voiced.shape or not np.array_equal(plain, voiced)
