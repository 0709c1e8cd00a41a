"""The example runs as its README says, on nothing but a recording."""

import subprocess
import sys
from pathlib import Path

import pipecat_webrtcvad
import pytest
import soundfile
import soxr

from tests.plugins.pipecat_webrtcvad.signals import DATA

EXAMPLE = Path(pipecat_webrtcvad.__file__).with_name("example.py")


def example(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("analyzer", ["hybrid", "webrtc"])
def test_it_prints_when_speech_starts_and_stops(analyzer: str):
    done = example(DATA / "speech_michael.flac", "--analyzer", analyzer)
    assert done.returncode == 0
    words = [line.split(" s  ")[-1] for line in done.stdout.splitlines()]
    assert words[:4] == ["speaking", "quiet", "speaking", "the recording ends in speech"]
    assert ("Silero was asked" in done.stdout) is (analyzer == "hybrid")


def test_it_takes_stereo_at_a_rate_that_is_none_of_the_legal_ones(tmp_path: Path):
    samples, rate_hz = soundfile.read(DATA / "speech.flac")
    stereo = soxr.resample(samples, rate_hz, 44100)[:, None].repeat(2, axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44100)
    done = example(tmp_path / "stereo.wav")
    assert "speaking" in done.stdout


def test_it_refuses_what_is_not_sound_in_one_sentence(tmp_path: Path):
    (tmp_path / "notes.wav").write_text("no sound in here")
    done = example(tmp_path / "notes.wav")
    assert done.returncode == 1
    assert "cannot be read as sound; give a WAV, FLAC or OGG file" in done.stderr
    assert "Traceback" not in done.stderr
