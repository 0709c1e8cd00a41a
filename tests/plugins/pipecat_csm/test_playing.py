"""Speech goes into a file, out of a loudspeaker, or both."""

import sys
from types import ModuleType

import numpy as np
import pytest
from pipecat_csm import generate_streaming_audio, load_csm_1b, watermark
from pipecat_csm.errors import AudioError, CSMError, WatermarkError
from pipecat_csm.playing import sinks
from pipecat_csm.wav import read_wav

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny"))
    with load_csm_1b(device="cpu", checkpoint=folder) as generator:
        yield generator


class Loudspeaker(ModuleType):
    """The part of sounddevice that is used, on a machine without a sound card."""

    class PortAudioError(Exception):
        """What it raises."""

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.events: list[str] = []
        self.heard: list[np.ndarray] = []
        self.is_there = True
        self.stopped = True

    def OutputStream(self, **how) -> "Loudspeaker":  # noqa: N802 - its name there
        if not self.is_there:
            raise self.PortAudioError("Error querying device -1")
        assert how == {"samplerate": 24_000, "channels": 1, "dtype": "float32"}
        self.events.append("open")
        return self

    def start(self) -> None:
        self.stopped = False
        self.events.append("start")

    def write(self, audio: np.ndarray) -> None:
        assert audio.shape[1:] == (1,)
        assert audio.flags.c_contiguous
        self.heard.append(audio[:, 0])

    def stop(self) -> None:
        self.stopped = True
        self.events.append("stop")

    def close(self) -> None:
        self.events.append("close")


@pytest.fixture
def loudspeaker(monkeypatch) -> Loudspeaker:
    loudspeaker = Loudspeaker()
    monkeypatch.setitem(sys.modules, "sounddevice", loudspeaker)
    return loudspeaker


def test_what_is_played_is_what_is_written_and_returned(generator, loudspeaker, tmp_path):
    audio = generate_streaming_audio(
        generator, "Hello.", 0, (), tmp_path / "a.wav", 800, play_audio=True, seed=1
    )
    assert len(audio)
    assert np.array_equal(np.concatenate(loudspeaker.heard), audio)
    assert np.allclose(read_wav(tmp_path / "a.wav")[0][:, 0], np.clip(audio, -1, 1), atol=1e-4)
    assert loudspeaker.events == ["open", "start", "stop", "close"], "and played to its end"


def test_it_is_silent_at_once_when_something_fails(loudspeaker):
    def speak() -> None:
        with sinks(24_000, None, play=True) as (play,):
            play(np.zeros(64, np.float32))
            raise CSMError("That is enough.")

    with pytest.raises(CSMError, match="enough"):
        speak()
    assert loudspeaker.events == ["open", "start", "close"]


def test_the_loudspeaker_waits_for_the_first_sound(loudspeaker):
    with sinks(24_000, None, play=True):
        assert loudspeaker.events == ["open"]
    assert loudspeaker.events == ["open", "close"]


def test_without_a_loudspeaker_it_says_so_and_writes_nothing(loudspeaker, tmp_path):
    loudspeaker.is_there = False
    with (
        pytest.raises(AudioError, match=r"no loudspeaker that can be used \(Error querying"),
        sinks(24_000, tmp_path / "a.wav", play=True),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_without_sounddevice_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match="pip install sounddevice"), sinks(24_000, None, play=True):
        pass


def test_a_marked_file_is_as_long_and_the_returned_sound_is_unmarked(generator, tmp_path):
    audio = generate_streaming_audio(
        generator, "Hello there.", 0, (), tmp_path / "a.wav", 2_000, seed=1, watermark=True
    )
    written = read_wav(tmp_path / "a.wav")[0][:, 0]
    expected = watermark.apply(audio, 24_000)
    assert np.allclose(written, np.clip(expected, -1, 1), atol=1e-4)
    assert not np.allclose(written, audio, atol=1e-3)


def test_a_mark_that_cannot_be_made_is_said_before_anything_is_spoken(monkeypatch, tmp_path):
    def missing() -> None:
        raise WatermarkError("A watermark needs packages that are not here.")

    monkeypatch.setattr("pipecat_csm.playing.check_installed", missing)
    with (
        pytest.raises(WatermarkError, match="not here"),
        sinks(24_000, tmp_path / "a.wav", play=False, mark=True),
    ):
        pass
    assert not list(tmp_path.iterdir())
