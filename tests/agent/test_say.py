"""csm-agent say, with a tiny checkpoint of the real format."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pipecat_csm import watermark
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
        given = ["--checkpoint", checkpoint, "--device", "cpu", "--seed", "1"]
        return main(["say", *given, *args])

    return run


def samples(path: str | Path) -> list[float]:
    return read_wav(path)[0][:, 0].tolist()


def record(path: str, seconds: float = 0.2, level: float = 0.1) -> None:
    """Somebody's recording, at another rate than CSM's."""
    noise = np.random.default_rng(1).normal(0, 1, int(16_000 * seconds))
    with WavWriter(path, 16_000) as file:
        file.write((level * noise).astype(np.float32))


def test_a_text_becomes_a_file(say, tmp_path, capsys):
    assert say("Hello there.", "--stream") == 0
    out = capsys.readouterr()
    assert out.out.strip() == "speech.wav"
    assert "first audio after" in out.err
    assert "RTF" in out.err
    audio, rate = read_wav(tmp_path / "speech.wav")
    assert rate == 24_000
    assert np.abs(audio).max() > 0.01


# Where the text comes from.


def test_a_dialogue_is_the_same_piped_and_from_a_file(say):
    dialogue = "  [0] Hello.\n  [1] Hi there,\n  my dear.\n"
    assert say("--out", "piped.wav", typed=dialogue) == 0
    Path("dialogue.txt").write_text(dialogue)
    assert say("--file", "dialogue.txt", "--out", "file.wav") == 0
    Path("windows.txt").write_text(dialogue.replace("\n", "\r\n"), encoding="utf-8-sig")
    assert say("--file", "windows.txt", "--out", "windows.wav") == 0
    assert say("--file", "-", "--out", "dash.wav", typed=dialogue) == 0
    assert say("[0] Hello.\n[1] Hi there, my dear.", "--out", "argument.wav") == 0
    whole = samples("piped.wav")
    for other in ("file.wav", "windows.wav", "dash.wav", "argument.wav"):
        assert samples(other) == whole, other
    assert say("[0] Hello.", "--out", "half.wav") == 0
    assert 0 < len(samples("half.wav")) < len(whole)


def test_typed_lines_end_with_end(say, monkeypatch, capsys):
    typed = io.StringIO("Hello,\nyou.\nEND\nnot this\n")
    typed.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", typed)
    assert say("--out", "typed.wav") == 0
    assert "a line END ends it" in capsys.readouterr().err
    assert typed.read() == "not this\n"


def test_a_text_longer_than_a_minute_and_a_half_is_spoken_to_its_end(say):
    # The tiny model finds no end: each of six pieces takes all of its 250 frames, or 20 s.
    assert say("A sentence of the very usual length of such. " * 24) == 0
    assert len(samples("speech.wav")) == 6 * 250 * 64


@pytest.mark.parametrize("text", ["Hi 😀!", "nul\0l", "\u202eright \u200fto left", "Line\x1b[0m"])
def test_odd_characters_are_spoken_around(say, text):
    Path("text.txt").write_text(text, encoding="utf-8")
    assert say("--file", "text.txt") == 0
    assert samples("speech.wav")


# How it is spoken.


def test_the_same_seed_says_the_same_again(say):
    for name, seed in (("a.wav", "5"), ("b.wav", "5"), ("c.wav", "6"), ("d.wav", "-1")):
        assert say("Hello. How are you?", "--seed", seed, "--out", name) == 0
    assert samples("a.wav") == samples("b.wav")
    assert samples("a.wav") != samples("c.wav") != samples("d.wav")


def test_a_reference_changes_the_voice_of_its_speaker(say):
    record("me.wav")
    record("you.wav", 0.3)
    me = ("--reference", "me.wav", "--reference-text", "This is me.")
    you = ("--reference", "you.wav", "--reference-text", "[1] This is you.")
    said = []
    for given in ((), me, (*me, *you), (*me, *you[:3], "This is you.")):
        assert say("Hello.", *given) == 0
        said.append(samples("speech.wav"))
    assert all(one != other for i, one in enumerate(said) for other in said[:i])


@pytest.mark.parametrize(
    "args", [("--quantize", "int8"), ("--quantize", "int4"), ("--dtype", "bfloat16")]
)
def test_weights_of_fewer_bytes_speak_too(say, args):
    assert say("Hello.", "--out", "plain.wav") == 0
    assert say("Hello.", *args) == 0
    assert samples("speech.wav")
    assert samples("speech.wav") != samples("plain.wav")


# Where the speech goes.


def test_an_older_file_is_overwritten_by_speech_and_by_nothing_else(say):
    Path("speech.wav").write_bytes(b"older " * 100_000)
    assert say("...") == 1
    assert say("Hello.", "--checkpoint", "nowhere") == 1
    assert Path("speech.wav").read_bytes().startswith(b"older ")
    assert say("Hello.") == 0
    assert Path("speech.wav").stat().st_size == 44 + 2 * len(samples("speech.wav"))


def test_without_speech_there_is_no_file(say):
    assert say("Hello.", "--device", "nonsense") == 1
    assert not Path("speech.wav").exists()


def test_nobodys_recording_or_text_is_overwritten(say, capsys):
    record("me.wav")
    before = Path("me.wav").read_bytes()
    reference = ("--reference", "me.wav", "--reference-text", "This is me.")
    os.symlink("me.wav", "link.wav")
    for out in ("me.wav", "./me.wav", "link.wav"):
        assert say("Hello.", *reference, "--out", out) == 1
        assert "have the speech written elsewhere" in capsys.readouterr().err
    Path("text.txt").write_text("Hello.")
    assert say("--file", "text.txt", "--out", "text.txt") == 1
    assert Path("me.wav").read_bytes() == before
    assert Path("text.txt").read_text() == "Hello."


def test_the_standard_output_gets_the_sound_alone(say, capfdbinary, tmp_path):
    assert say("Hello.", "--out", "-") == 0
    (tmp_path / "piped.wav").write_bytes(capfdbinary.readouterr().out)
    assert say("Hello.", "--out", "file.wav") == 0
    assert samples("piped.wav") == samples("file.wav")


def test_no_sound_is_written_to_a_terminal(say, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert say("Hello.", "--out", "-") == 1
    assert "--out - | aplay" in capsys.readouterr().err


def test_a_watermark_is_found_in_the_file_and_nothing_else_is_printed(say, capsys):
    assert say("Hello there.", "--out", "plain.wav") == 0
    assert say("Hello there.", "--out", "marked.wav", "--watermark") == 0
    assert capsys.readouterr().out.split() == ["plain.wav", "marked.wav"]
    plain, marked = (read_wav(name)[0][:, 0] for name in ("plain.wav", "marked.wav"))
    assert len(plain) == len(marked)
    assert np.allclose(marked, watermark.apply(plain, 24_000), atol=1e-3)
    assert not np.allclose(marked, plain, atol=1e-3)


def test_without_a_sound_device_it_says_so_before_anything_is_loaded(say, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert say("Hello.", "--play", "--checkpoint", "nowhere") == 1
    assert "needs the package sounddevice" in capsys.readouterr().err


# What somebody sees meanwhile.


def test_a_bar_at_a_terminal_shows_how_far_and_how_fast(say, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert say("Hello there.") == 0
    seen = terminal.getvalue()
    assert "Loading 0.0 of 0.0 GB" in seen
    assert "[##" in seen
    assert " of about 1 s, RTF " in seen
    assert "\ncsm-agent: CSM ran away on 'Hello there.'" not in seen, "in place of the line"
    assert "\rcsm-agent: CSM ran away on 'Hello there.'" in seen


def test_elsewhere_there_is_neither_a_bar_nor_an_empty_line(say, capsys, monkeypatch):
    assert say("Hello there.") == 0
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "csm-agent: CSM ran away on 'Hello there.': far longer than the text; cut off."
    ]


def test_ctrl_c_keeps_what_was_spoken_and_says_how_much(checkpoint, tmp_path):
    command = [shutil.which("csm-agent", path=Path(sys.executable).parent) or "csm-agent", "say"]
    given = ["--checkpoint", checkpoint, "--device", "cpu", "--out", "long.wav"]
    process = subprocess.Popen(
        [*command, *given, "One, two, three, four, five, six, seven, eight. " * 200],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        file = tmp_path / "long.wav"
        while not (file.exists() and file.stat().st_size > 2_000):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    assert errors.splitlines()[-2] == "csm-agent: Stopped."
    spoken_s = len(samples(file)) / 24_000
    assert errors.splitlines()[-1] == f"long.wav holds the first {spoken_s:.1f} s."
    assert "Traceback" not in errors


@pytest.mark.parametrize("marks", [(), ("--watermark",)])
def test_what_fails_in_the_middle_leaves_what_was_spoken(say, monkeypatch, capsys, marks):
    from pipecat_csm.engine.runner import Runner

    step, steps = Runner.step, iter(range(1000))

    def failing(runner):
        if next(steps) == 20:
            raise RuntimeError("out of luck")
        return step(runner)

    monkeypatch.setattr(Runner, "step", failing)
    assert say("Hello there.", *marks) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "csm-agent: The voice failed while it spoke: out of luck"
    assert second.startswith("speech.wav holds the first ")
    assert 0 < len(samples("speech.wav")) <= 20 * 64


# What cannot be said.


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("...",), "nothing to speak"),
        (("",), "nothing to say"),
        ((), "nothing to say"),
        (("\0\u200b😀",), "nothing to speak"),
        (("word " * 4_001,), "more than 20,000 characters"),
        (("[0] Hello.\n[1] ...\n",), "In '...': There is nothing to speak"),
        (("[65536] Hello.",), "There is no speaker 65536; they are numbered from 0 to 65,535"),
        (("--file", "no.txt"), "no.txt cannot be read: No such file"),
        (("--file", "."), ". cannot be read: Is a directory"),
        (("--file", "a.wav"), "a.wav is not text in UTF-8"),
        (("Hi.", "--reference", "a.wav"), "There are 1 --reference and 0 --reference-text"),
        (("Hi.", "--reference", "no.wav", "--reference-text", "a"), "no.wav cannot be read"),
        (("Hi.", "--reference", "text", "--reference-text", "a"), "text is not a PCM WAV file"),
        (("Hi.", "--reference", "a.wav", "--reference-text", "?"), "words of a.wav cannot be used"),
        (
            ("Hi.", "--reference", "a.wav", "--reference-text", "[0] I.\n[1] You."),
            "words of a.wav cannot be used: they are those of one speaker",
        ),
        (("Hi.", "--reference", "silent.wav", "--reference-text", "a"), "it is silent"),
        (("Hi.", "--reference", "empty.wav", "--reference-text", "a"), "The audio is empty"),
        (
            ("Hi.", "--reference", "long.wav", "--reference-text", "a"),
            "together they may take 512, about 36 s of speech: use fewer, or cut them",
        ),
        (("Hi.", "--out", "no/such/a.wav"), "no/such/a.wav cannot be written: No such file"),
        (("Hi.", "--out", "."), ". cannot be written: Is a directory"),
        (("Hi.", "--watermark", "--play"), "add --out"),
        (("Hi.", "--checkpoint", "nowhere"), "There is no folder nowhere"),
        (("Hi.", "--checkpoint", "."), "holds no CSM checkpoint"),
        (("Hi.", "--device", "nonsense"), "The device 'nonsense' cannot be used here"),
    ],
)
def test_what_cannot_be_said_is_one_sentence(say, capsys, args, sentence):
    record("a.wav")
    record("silent.wav", level=0)
    record("long.wav", seconds=42)
    Path("text").write_text("no sound")
    Path("empty.wav").write_bytes(Path("a.wav").read_bytes()[:40] + bytes(4))
    assert say(*args) == 1
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("csm-agent: ")
    assert sentence in error
    assert not Path("speech.wav").exists()


def test_a_broken_checkpoint_is_one_sentence(say, checkpoint, capsys):
    shutil.copytree(checkpoint, "broken")
    weights = Path("broken/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:1_000])
    assert say("Hello.", "--checkpoint", "broken") == 1
    assert "damaged or only half there" in capsys.readouterr().err


def test_bytes_that_are_no_text_are_refused(say, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfeno"), "utf-8"))
    assert say() == 1
    assert "What is piped in is not text in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ("--speaker", "65536"),
        ("--speaker", "-1"),
        ("--temperature", "nan"),
        ("--temperature", "-1"),
        ("--topk", "99999999999999999999"),
        ("--topk", "many"),
        ("--quantize", "int2"),
        ("--quantize", "int4", "--dtype", "float32"),
        ("--file", "a.txt"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_the_usage(say, capsys, args):
    with pytest.raises(SystemExit) as refused:
        say("Hello.", *args)
    assert refused.value.code == 2
    assert "csm-agent say: error: argument --" in capsys.readouterr().err


def test_without_weights_it_says_how_to_get_them(capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["say", "Hello.", "--device", "cpu"]) == 1
    assert "https://huggingface.co/sesame/csm-1b" in capsys.readouterr().err
