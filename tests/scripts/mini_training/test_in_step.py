"""What the decoder is asked for: the same speech, in step with the frames."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.mini_training.codec import in_step
from scripts.mini_training.codec.clips import draw
from scripts.mini_training.codec.codes import played
from scripts.mini_training.codec.in_step import InStep, stepped_pitch_hz, whole_cycles
from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ, Corpus
from scripts.mini_training.errors import TrainingError
from tests.scripts.mini_training.conftest import make_corpus, silent_progress

FRAME = 1_920


def buzz(hertz: NDArray[np.float64] | float, seconds: float) -> NDArray[np.float32]:
    """A voice of twenty partials, the higher the weaker, with a little noise."""
    cycles = np.cumsum(np.full(int(seconds * SAMPLE_RATE_HZ), hertz) / SAMPLE_RATE_HZ)
    partials = [np.cos(2 * np.pi * n * cycles + n) / n for n in range(1, 21)]
    noise = np.random.default_rng(0).standard_normal(len(cycles))
    return (0.1 * np.sum(partials, axis=0) + 1e-3 * noise).astype(np.float32)


def test_every_frame_of_a_voice_holds_whole_cycles_that_begin_alike():
    made, cycles = in_step.in_step(buzz(206.0, 1.2))
    assert len(made) == 15 * FRAME
    assert set(cycles[2:-2]) <= {16, 17}
    frames = made.reshape(15, FRAME)[3:-3]
    for frame, count in zip(frames, cycles[3:-3].tolist(), strict=True):
        lines = np.abs(np.fft.rfft(frame))[: 20 * count]
        on_time = np.square(lines[count::count]).sum()
        assert on_time > 0.8 * np.square(lines[1:]).sum()
    assert np.corrcoef(frames[0], frames[1])[0, 1] > 0.9


def test_it_is_as_loud_and_silence_stays_silent():
    sound = buzz(150.0, 1.0)
    made, _ = in_step.in_step(sound)
    assert np.square(made).sum() == pytest.approx(np.square(sound).sum(), rel=0.01)
    silent, cycles = in_step.in_step(np.zeros(5_000, np.float32))
    assert len(silent) == 3 * FRAME
    assert np.abs(silent).max() < 1e-3
    assert not cycles.any()


def test_a_pitch_between_two_numbers_does_not_waver_and_one_that_rises_is_followed():
    wavering = 12.5 * (16.5 + 0.05 * np.tile([1.0, -1.0], 10))
    pitch = np.repeat(wavering[:, None], 16, axis=1)
    assert len(set(whole_cycles(pitch, np.ones(20)).tolist())) == 1
    rising = np.repeat(np.linspace(100, 250, 20)[:, None], 16, axis=1)
    cycles = whole_cycles(rising, np.ones(20))
    assert (np.diff(cycles) >= 0).all()
    assert np.abs(cycles * 12.5 - rising[:, 0]).max() < 20


def test_so_many_cycles_pass_in_each_frame():
    cycles = np.array([8, 8, 9, 12, 7])
    hertz = stepped_pitch_hz(cycles)
    assert len(hertz) == 5 * 16 + 1
    passed = np.concatenate([[0], np.cumsum((hertz[1:] + hertz[:-1]) / 2 * 5e-3)])
    assert passed[::16].tolist() == pytest.approx([0, 8, 16, 25, 37, 44])


def test_a_corpus_in_step_is_made_once_and_clips_are_cut_from_it(tmp_path: Path):
    make_corpus(tmp_path)
    corpus, paces = Corpus(tmp_path, "heldout"), (1.0, 1.07)
    with pytest.raises(TrainingError, match="the codec stage makes it"):
        InStep(corpus, paces)

    def make() -> tuple[InStep, dict[Path, int]]:
        made = in_step.make(corpus, paces, silent_progress(), processes=1)
        return made, {file: file.stat().st_mtime_ns for file in (tmp_path / "in_step").iterdir()}

    (source, files), (_, again) = make(), make()
    assert files == again
    for pace in paces:
        for one in corpus.utterances[:3]:
            sound, wanted, cycles = source.of(one, pace)
            given = played(corpus.audio(one), pace)
            alone, counted = in_step.in_step(given)
            assert np.abs(sound[: len(given)] - given).max() < 1e-3
            assert np.abs(wanted - alone.clip(-1, 1)).max() < 1e-3
            assert cycles.tolist() == counted.tolist()
    clips = draw(source, np.random.default_rng(0), clips=40, frames=6)
    assert clips.audio.shape == clips.wanted.shape == (40, 6 * FRAME)
    assert clips.cycles.shape == (40, 6)
    # Where one is silent because nothing is there, so is the other.
    quiet = clips.audio.view(40, 6, FRAME).abs().amax(dim=2) == 0
    assert clips.wanted.view(40, 6, FRAME).abs().amax(dim=2)[quiet].max() < 0.05
    assert not clips.cycles[quiet].any()
