"""`csm-agent persona preview`: the fallback voice by Kokoro, the recordings' by a tiny CSM."""

import subprocess
import sys

import numpy as np
import pytest
from pipecat_csm import load_csm_1b
from pipecat_csm.wav import read_wav

from agent.persona import load_personas
from agent.voices.segments import reference_segments
from tests.hearing import hear, word_errors
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm
from tests.recordings import RATE_HZ, spoken, write


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny")))


def samples(path) -> np.ndarray:
    audio, rate_hz = read_wav(path)
    assert rate_hz == 24_000
    return audio[:, 0]


class TestTheFallbackVoice:
    def test_it_speaks_the_line(self, persona, tmp_path):
        code, out, err = persona("preview", "nova", "The train leaves at noon.")
        assert (code, out) == (0, "nova.wav\n")
        assert "Speaking with the fallback voice, Kokoro's af_heart:50,bf_emma:50" in err
        heard = hear(samples(tmp_path / "nova.wav"), 24_000)
        assert word_errors(heard, "The train leaves at noon.") <= 0.2

    def test_it_greets_where_nothing_is_to_be_said(self, persona, tmp_path):
        assert persona("preview", "max", "--out", tmp_path / "a.wav")[0] == 0
        greeting = load_personas()["max"].greeting
        assert word_errors(hear(samples(tmp_path / "a.wav"), 24_000), greeting) <= 0.2

    def test_it_needs_no_torch(self, tmp_path):
        script = (
            "import sys; from agent.cli import main; "
            "code = main(['persona', 'preview', 'ada', 'Hello.']); "
            "sys.exit(code or 'torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
        assert done.returncode == 0
        assert len(samples(tmp_path / "ada.wav"))


class TestCSM:
    def test_it_speaks_with_the_recordings_as_the_persona_says(
        self, persona, checkpoint, tmp_path, own
    ):
        # A frame of the tiny codec is a few milliseconds, so that a second takes many positions.
        folder = own / "echo"
        folder.mkdir(parents=True)
        write(folder / "a.flac", spoken("echo")[0][:RATE_HZ])
        (folder / "persona.yaml").write_text(
            "display_name: Echo\nprompt: You are Echo.\n"
            "voice: {references: [{audio: a.flac, text: Let me}], speaker: 3, temperature: 0.5,"
            " top_k: 7, kokoro: af_heart, licence: Apache-2.0, consent: synthetic}\n"
        )
        code, out, err = persona(
            *("preview", "echo", "Good morning.", "--seed", "1"),
            *("--checkpoint", checkpoint, "--device", "cpu"),
        )
        assert (code, out) == (0, "echo.wav\n")
        assert "Speaking with CSM and 1 recording." in err
        echo = load_personas(own)["echo"]
        with load_csm_1b("cpu", checkpoint=checkpoint) as generator:
            expected = generator.generate(
                "Good morning.",
                3,
                temperature=0.5,
                topk=7,
                references=reference_segments(echo),
                seed=1,
            )
        heard = samples(tmp_path / "echo.wav")
        np.testing.assert_allclose(heard, expected.clamp(-1, 1).numpy(), atol=1e-4)

    def test_without_recordings_it_says_that_csm_picks_a_voice(self, persona, checkpoint, own):
        (own / "bo").mkdir(parents=True)
        (own / "bo" / "persona.yaml").write_text(
            "display_name: Bo\nprompt: You are Bo.\n"
            "voice: {kokoro: af_heart, licence: Apache-2.0, consent: synthetic}\n"
        )
        code, _, err = persona("preview", "bo", "--checkpoint", checkpoint, "--device", "cpu")
        assert code == 0
        assert "Bo has no recordings; CSM picks a voice by itself." in err

    def test_a_checkpoint_that_is_not_there(self, persona, tmp_path):
        code, out, err = persona("preview", "ada", "--checkpoint", tmp_path / "none")
        assert (code, out) == (1, "")
        assert str(tmp_path / "none") in err
        assert not (tmp_path / "ada.wav").exists()


class TestTheRecordingsAsSegments:
    def test_they_have_the_words_the_speaker_and_24_khz(self):
        persona = load_personas()["fable"]
        (segment,) = reference_segments(persona)
        assert segment.text == persona.voice.references[0].text
        assert segment.speaker == 0
        assert segment.duration_s == pytest.approx(10.3, abs=0.2)

    def test_no_recordings_are_no_segments(self):
        ada = load_personas()["ada"]
        silent = ada.model_copy(update={"voice": ada.voice.model_copy(update={"references": ()})})
        assert reference_segments(silent) == []


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("nobody",), "There is no persona 'nobody'"),
        (("ada", "word " * 120), "A preview has at most 500 characters; `csm-agent say` more."),
        (("ada", "--out", "none/a.wav"), "none/a.wav cannot be written"),
    ],
)
def test_what_cannot_be_previewed_is_said(persona, args, sentence):
    code, out, err = persona("preview", *args)
    assert (code, out) == (1, "")
    assert sentence in err
