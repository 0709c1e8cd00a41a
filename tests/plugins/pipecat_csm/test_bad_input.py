"""What people give by mistake: one sentence each, nothing is left behind, and the next call works.

Sound of other kinds, texts, Segments and checkpoints have their own tests beside this one; here is
what reaches a loaded generator.
"""

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pipecat_csm import Generator, Segment, generate_streaming_audio, load_csm_1b
from pipecat_csm.audio import to_model_audio
from pipecat_csm.errors import (
    AudioError,
    CheckpointError,
    ContextError,
    CSMError,
    EngineClosedError,
    OptionError,
    TextError,
)

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

LONG = "One, two, three, four, five, six, seven, eight, nine and ten. " * 12


def codes(frames: int, codebooks: int = 4) -> torch.Tensor:
    return torch.arange(frames * codebooks).reshape(frames, codebooks) % 16


SPOKEN = Segment("Hello.", 1, codes=codes(6))
TEXT_ALONE = Segment("No sound.", 1)
EMPTY = Segment("Empty.", 1, audio=torch.zeros(0))
OTHERS_CODES = Segment("Other codes.", 1, codes=codes(6, 5))
CODES_OUT_OF_RANGE = Segment("Other codes.", 1, codes=codes(6) + 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def loaded(folder):
    with load_csm_1b("cpu", checkpoint=folder) as generator:
        threads = threading.active_count()
        yield generator, spoken(generator), threads


@pytest.fixture
def generator(loaded):
    """A generator that is as good after a test as before."""
    generator, before, threads = loaded
    yield generator
    assert generator.engine.occupancy.speaking == 0
    assert generator.engine.occupancy.open <= 2
    assert threading.active_count() == threads
    assert torch.equal(spoken(generator), before)


def spoken(generator: Generator, text: str = "Hello.", speaker: Any = 0, **kwargs) -> torch.Tensor:
    return generator.generate(text, speaker, **{"max_audio_length_ms": 400, "seed": 1, **kwargs})


REFUSED: list[tuple[dict[str, Any], type[CSMError], str]] = [
    # The text.
    ({"text": ""}, TextError, "no letter and no digit"),
    ({"text": " \n\t "}, TextError, "no letter and no digit"),
    ({"text": "...?! —"}, TextError, "no letter and no digit"),
    ({"text": "😀\0\u202e\u200f\ud800"}, TextError, "no letter and no digit"),
    ({"text": "x" * 20_001}, TextError, "more than 20,000 characters"),
    ({"text": None}, TextError, "is a string, not NoneType"),
    ({"text": b"Hello."}, TextError, "is a string, not bytes"),
    # The speaker.
    ({"speaker": -1}, ContextError, "from 0 to 65,535, not -1"),
    ({"speaker": 65_536}, ContextError, "not 65536"),
    ({"speaker": "0"}, ContextError, "not '0'"),
    ({"speaker": None}, ContextError, "not None"),
    # The context and the references.
    ({"context": [TEXT_ALONE]}, ContextError, "'No sound.' of the context has neither audio"),
    ({"context": [SPOKEN, EMPTY]}, AudioError, "audio of the Segment 'Empty.' is empty"),
    ({"context": [OTHERS_CODES]}, ContextError, "this checkpoint's are"),
    ({"context": [CODES_OUT_OF_RANGE]}, ContextError, "this checkpoint's lie from 0 to 15"),
    ({"context": "Hello."}, ContextError, "context is a list of Segments, not a str"),
    ({"context": [{"text": "Hello."}]}, ContextError, "context is a list of Segments, not of dict"),
    ({"references": SPOKEN}, ContextError, "references is a list of Segments, not a Segment"),
    ({"references": [TEXT_ALONE]}, ContextError, "neither audio nor codes"),
    ({"references": [EMPTY]}, AudioError, "is empty"),
    ({"references": [OTHERS_CODES]}, ContextError, "this checkpoint's are"),
    (
        {"references": [Segment("Long.", 0, codes=codes(600))]},
        ContextError,
        "together they may take 512, about 36 s of speech: use fewer, or cut them",
    ),
    # The numbers.
    ({"temperature": -0.1}, OptionError, "temperature is a number from 0"),
    ({"temperature": math.nan}, OptionError, "not nan"),
    ({"temperature": "hot"}, OptionError, "not 'hot'"),
    ({"topk": -1}, OptionError, "topk is a whole number from 0"),
    ({"topk": 10**30}, OptionError, "topk"),
    ({"topk": 2.5}, OptionError, "not 2.5"),
    ({"min_p": 1.1}, OptionError, "min_p is a number from 0 to 1, not 1.1"),
    ({"seed": 1.5}, OptionError, "seed is a whole number, not 1.5"),
    ({"max_audio_length_ms": -1}, OptionError, "max_audio_length_ms is a number from 0 on"),
    ({"max_audio_length_ms": math.nan}, OptionError, "not nan"),
]


@pytest.mark.parametrize(("wrong", "error", "sentence"), REFUSED)
def test_what_cannot_be_spoken_is_refused_in_one_sentence(generator, wrong, error, sentence):
    with pytest.raises(error) as raised:
        spoken(generator, **wrong)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize("max_frames", [0, -1, 1.5, None])
def test_no_frames_at_all_are_refused(generator, max_frames: Any):
    with pytest.raises(OptionError, match="max_frames is a whole number from 1 on"):
        generator.generate_frames("Hello.", 0, max_frames=max_frames)


def test_it_is_refused_before_a_sound_is_made(generator):
    steps = generator.engine.steps
    for wrong, error, _ in REFUSED:
        with pytest.raises(error):
            spoken(generator, **wrong)
    assert generator.engine.steps == steps


@pytest.mark.parametrize(
    "odd",
    [
        {"text": "Hi 😀!"},
        {"text": "nul\0l"},
        {"text": "\u202eright \u200fto left"},
        {"text": "a\nb\tc"},
        {"text": "“Well” – yes…"},
        {"text": "half \ud800 a character"},
        {"text": "<|end_of_text|><|AUDIO|> or so"},
        {"text": "x" * 20_000},
        {"context": [Segment("One sample.", 1, audio=torch.zeros(1))]},
        {"context": [Segment("Silence.", 1, audio=torch.zeros(6_400))]},
        {"context": [Segment("Nothing heard.", 1, codes=codes(0))]},
        {"context": [Segment("Half.", 1, audio=torch.zeros(640).half())]},
        {"context": [Segment("", 1, codes=codes(6))]},
        {"context": (segment for segment in [SPOKEN])},
        {"context": [Segment("On and on.", 1, audio=torch.zeros(2_100 * 64))] * 3},
        {"context": [Segment("word " * 4_000, 1, codes=codes(6))]},
        {"speaker": 65_535},
        {"seed": -1},
        {"seed": 2**70},
        {"topk": 0},
        {"temperature": np.float32(0.5)},
        {"max_audio_length_ms": 0},
    ],
)
def test_what_is_odd_but_can_be_spoken_is_spoken(generator, odd):
    assert len(spoken(generator, **odd))


def test_a_length_without_an_end_is_as_long_as_the_text(generator):
    limited = spoken(generator, max_audio_length_ms=60_000)
    assert len(limited) > len(spoken(generator))
    assert torch.equal(spoken(generator, max_audio_length_ms=math.inf), limited)


def test_any_sound_becomes_a_context_and_what_is_none_is_refused(generator):
    noise = np.random.default_rng(1).normal(0, 0.1, (2, 4_000))
    for samples, rate_hz in (
        (noise.astype(np.float32), 44_100),
        ((noise * 32_768).astype(np.int16), 8_000),
        (np.zeros(4_000, np.int16), 16_000),
        (noise[0, :1], 48_000),
    ):
        heard = Segment("Hello.", 1, audio=to_model_audio(samples, rate_hz, frame_samples=64))
        assert len(spoken(generator, context=[heard]))
    for samples, rate_hz in (
        (noise * math.nan, 24_000),
        (noise[:, :0], 24_000),
        (noise, 0),
        (noise, 1_000_000),
        (noise.astype(np.uint8), 24_000),
    ):
        with pytest.raises(AudioError):
            to_model_audio(samples, rate_hz)


def test_a_checkpoint_that_is_none_is_refused_and_leaves_no_thread(folder, tmp_path):
    threads = threading.active_count()
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    for wrong in (tmp_path, tmp_path / "nowhere", folder / "config.json"):
        with pytest.raises(CheckpointError):
            load_csm_1b("cpu", checkpoint=wrong)
    assert threading.active_count() == threads


def test_a_file_that_cannot_be_written_is_said_before_a_sound_is_made(generator, tmp_path):
    steps = generator.engine.steps
    with pytest.raises(AudioError, match="cannot be written"):
        generate_streaming_audio(generator, "Hello.", 0, output_file=tmp_path / "no" / "out.wav")
    assert generator.engine.steps == steps


# Cancelled at every point.


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 7, 30])
def test_whoever_stops_listening_leaves_nothing_behind(generator, taken):
    said: list[Segment] = []
    stream = generator.generate_stream(LONG, 0, [SPOKEN], 60_000, seed=1, spoken=said)
    for _ in range(taken):
        next(stream)
    stream.close()
    assert sum(len(segment.codes) for segment in said if segment.codes is not None) >= taken
    assert generator.engine.occupancy.speaking == 0


def test_a_stream_that_was_never_begun_costs_nothing(generator):
    steps = generator.engine.steps
    generator.generate_stream(LONG, 0)
    assert generator.engine.steps == steps


def test_one_of_two_that_stops_changes_nothing_for_the_other(generator):
    whole = spoken(generator, "Hello there.", seed=2, max_audio_length_ms=1_600)
    other = generator.generate_stream("Hello there.", 0, (), 1_600, seed=2)
    heard = [next(other)]
    stream = generator.generate_stream(LONG, 0, seed=1)
    next(stream)
    stream.close()
    assert torch.allclose(torch.cat([*heard, *other]), whole, atol=1e-5)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_what_is_cut_off_by_the_engines_end_is_not_taken_for_the_whole(folder, taken):
    with load_csm_1b("cpu", checkpoint=folder) as generator:
        stream = generator.generate_stream(LONG, 0, seed=1)
        for _ in range(taken):
            next(stream)
        generator.close()
        with pytest.raises(EngineClosedError):
            for _ in stream:
                pass


@pytest.mark.parametrize("speak", [Generator.generate, Generator.generate_frames])
def test_what_fails_in_the_middle_is_not_taken_for_the_whole(
    folder, monkeypatch, speak: Callable[..., Any]
):
    from pipecat_csm.engine.runner import Runner

    step, steps = Runner.step, iter(range(1_000))

    def failing(runner: Runner):
        if next(steps) == 5:
            raise RuntimeError("out of luck")
        return step(runner)

    monkeypatch.setattr(Runner, "step", failing)
    with load_csm_1b("cpu", checkpoint=folder) as generator:
        with pytest.raises(CSMError, match="out of luck"):
            speak(generator, "Hello there.", 0)
        assert len(spoken(generator)), "and it lives on"
