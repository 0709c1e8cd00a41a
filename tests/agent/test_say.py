"""csm-agent say, with a tiny checkpoint of the real format."""

import io

import numpy as np
import pytest
from pipecat_csm.wav import WavWriter, read_wav

from agent.cli import main
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(save_tiny(tiny_csm(), tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def say(checkpoint, tmp_path, monkeypatch):
    """Runs the command in an empty folder; returns its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    def run(*args: str, typed: str | None = None) -> int:
        if typed is not None:
            monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        return main(["say", *args, "--checkpoint", checkpoint, "--device", "cpu", "--seed", "1"])

    return run


def test_a_text_becomes_a_file(say, tmp_path, capsys):
    assert say("Hello there.", "--stream") == 0
    out = capsys.readouterr()
    assert out.out.strip() == "speech.wav"
    assert "first audio after" in out.err
    audio, rate = read_wav(tmp_path / "speech.wav")
    assert rate == 24_000
    assert np.abs(audio).max() > 0.01


def test_a_piped_dialogue_and_the_same_from_a_file(say, tmp_path):
    dialogue = "  [0] Hello.\n  [1] Hi there,\n  my dear.\n"
    assert say("--out", "piped.wav", typed=dialogue) == 0
    (tmp_path / "dialogue.txt").write_text(dialogue)
    assert say("--file", "dialogue.txt", "--out", "file.wav") == 0
    assert np.array_equal(read_wav("piped.wav")[0], read_wav("file.wav")[0])
    assert say("[0] Hello.", "--out", "half.wav") == 0
    assert 0 < len(read_wav("half.wav")[0]) < len(read_wav("file.wav")[0])


def test_typed_lines_end_with_end(say, monkeypatch, capsys):
    typed = io.StringIO("Hello,\nyou.\nEND\nnot this\n")
    typed.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", typed)
    assert say("--out", "typed.wav") == 0
    assert "a line END ends it" in capsys.readouterr().err
    assert typed.read() == "not this\n"


def test_a_reference_changes_the_voice(say):
    with WavWriter("me.wav", 16_000) as file:
        file.write(np.random.default_rng(1).normal(0, 0.1, 3000).astype(np.float32))
    assert say("Hello.", "--out", "plain.wav") == 0
    reference = ("--reference", "me.wav", "--reference-text", "This is me.")
    assert say("Hello.", *reference, "--out", "voice.wav") == 0
    plain, voiced = read_wav("plain.wav")[0], read_wav("voice.wav")[0]
    assert plain.shape != voiced.shape or not np.array_equal(plain, voiced)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("...",), "nothing to speak"),
        (("--file", "no.txt"), "no.txt cannot be read"),
        (("Hi.", "--reference", "a.wav"), "needs the words"),
        (("Hi.", "--reference", "a.wav", "--reference-text", "a"), "a.wav cannot be read"),
        (("Hi.", "--out", "no/such/a.wav"), "cannot be written"),
        ((), "nothing to say"),
    ],
)
def test_what_cannot_be_said_is_one_sentence(say, capsys, args, sentence):
    assert say(*args) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("csm-agent: ")
    assert sentence in error


def test_without_weights_it_says_how_to_get_them(capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["say", "Hello.", "--device", "cpu"]) == 1
    assert "https://huggingface.co/sesame/csm-1b" in capsys.readouterr().err
