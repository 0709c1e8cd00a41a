"""`csm-agent persona add`: recordings in, a persona out, and nothing where something is wrong."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress

import numpy as np
import pytest
import soundfile
import yaml

from agent.persona import load_persona
from tests.recordings import (
    RATE_HZ,
    music,
    noise,
    silence,
    spoken,
    two_people,
    write,
)

RIGHTS = ("--consent", "It is my own voice.", "--licence", "For my own use only.")
MAX, WORDS = spoken("max")


@pytest.fixture
def mine(tmp_path):
    """A recording as people make them: a bit quiet, 44.1 kHz, with silence around the words."""
    samples = np.concatenate([silence(1), 0.4 * MAX, silence(1)])
    return write(tmp_path / "mine.wav", samples, 44_100, channels=2)


class TestAGoodRecording:
    def test_it_becomes_a_persona(self, persona, own, mine):
        code, _, err = persona("add", "bob", "--audio", mine, *RIGHTS)
        assert (code, err) == (0, "")
        bob = load_persona(own / "bob" / "persona.yaml")
        assert bob.display_name == "Bob"
        assert bob.voice.consent == "It is my own voice."
        assert bob.voice.licence == "For my own use only."
        (reference,) = bob.voice.references
        assert reference.audio == "reference-1.flac"
        assert "we find out what is broken" in reference.text
        # Nearest of the voices that ship: it is Max's, after all.
        assert bob.voice.kokoro == "am_michael"
        header = soundfile.info(own / "bob" / "reference-1.flac")
        assert (header.samplerate, header.channels, header.format) == (24_000, 1, "FLAC")
        assert header.duration == pytest.approx(len(MAX) / RATE_HZ, abs=0.3)

    def test_what_was_done_is_explained(self, persona, mine):
        _, out, _ = persona("add", "bob", "--audio", mine, *RIGHTS)
        assert "mine.wav: 11.4 s, 44,100 Hz, stereo" in out
        assert "before the first word and" in out
        assert "made 8 dB louder; made 24,000 Hz, mono" in out
        assert "ok       One voice" in out
        assert "Hear it: csm-agent persona preview bob\n" in out

    def test_what_is_said_about_it_is_kept(self, persona, own, mine):
        code, _, _ = persona(
            *("add", "old-bob", "--audio", mine, "--text", WORDS, *RIGHTS),
            *("--display-name", "Bob: the 'Builder'", "--description", "Can he fix it?"),
            *("--prompt", "You are Bob.\nYou build.", "--greeting", "Yes, we can!"),
            *("--fallback-voice", "am_michael:60,bm_george:40"),
        )
        assert code == 0
        bob = load_persona(own / "old-bob" / "persona.yaml")
        assert (bob.display_name, bob.description) == ("Bob: the 'Builder'", "Can he fix it?")
        assert (bob.prompt, bob.greeting) == ("You are Bob.\nYou build.", "Yes, we can!")
        assert bob.voice.kokoro == "am_michael:60,bm_george:40"
        assert bob.voice.references[0].text == WORDS

    def test_it_passes_its_own_check(self, persona, mine):
        assert persona("add", "bob", "--audio", mine, *RIGHTS)[0] == 0
        code, out, _ = persona("check", "bob")
        assert (code, "bob: all is well." in out) == (0, True)

    def test_several_recordings_of_one_voice(self, persona, own, tmp_path):
        half = len(MAX) // 2
        parts = [write(tmp_path / "1.flac", MAX[:half]), write(tmp_path / "2.mp3", MAX[half:])]
        given = [word for part in parts for word in ("--audio", part)]
        code, out, _ = persona("add", "bob", *given, *RIGHTS)
        assert code == 0
        assert "The voice of 1.flac (their likeness is 0." in out
        references = load_persona(own / "bob" / "persona.yaml").voice.references
        assert [reference.audio for reference in references] == [
            "reference-1.flac",
            "reference-2.flac",
        ]

    def test_in_another_folder(self, persona, tmp_path, mine):
        folder = tmp_path / "others"
        code, out, _ = persona("add", "bob", "--dir", folder, "--audio", mine, *RIGHTS)
        assert code == 0
        assert (folder / "bob" / "persona.yaml").exists()
        assert f"csm-agent serve --persona bob --set personas_dir={folder}" in out


@pytest.mark.parametrize(
    ("samples", "text", "sentence"),
    [
        (music(8), None, "Nobody speaks in it"),
        (silence(5), None, "It is silent"),
        (MAX[: int(0.3 * RATE_HZ)], None, "It lasts 0.3 s, too short"),
        (np.tile(MAX, 19), None, "s; a reference takes 3 to 30 s"),
        (two_people(), None, "Two people speak"),
        (MAX, "We shall fight on the beaches, we shall never surrender.", "The text is not what"),
    ],
    ids=["music", "silence", "0.3 s", "3 min", "two people", "another text"],
)
def test_a_bad_recording_is_refused_and_nothing_written(
    persona, own, tmp_path, samples, text, sentence
):
    path = write(tmp_path / "bad.wav", samples)
    texts = ("--text", text) if text else ()
    code, out, _ = persona("add", "bob", "--audio", path, *texts, *RIGHTS)
    assert code == 1
    (refused,) = [line for line in out.splitlines() if "REFUSED" in line]
    assert sentence in refused
    assert out.endswith("Nothing was written. Mend what is refused, and add bob again.\n")
    assert not own.exists()


def test_a_telephone_call_is_refused(persona, own, tmp_path):
    path = write(tmp_path / "call.mp3", MAX, 8_000)
    code, out, _ = persona("add", "bob", "--audio", path, *RIGHTS)
    assert (code, own.exists()) == (1, False)
    assert "REFUSED  Nothing above 4.0 kHz: it went through a telephone" in out


def test_one_bad_recording_of_two_is_enough(persona, own, tmp_path, mine):
    other = write(tmp_path / "ada.wav", spoken("ada")[0])
    code, out, _ = persona("add", "bob", "--audio", mine, "--audio", other, *RIGHTS)
    assert (code, own.exists()) == (1, False)
    assert "REFUSED  It is not the person of mine.wav" in out


def test_recordings_that_csm_could_not_hold_together(persona, own, tmp_path):
    long = write(tmp_path / "long.wav", np.tile(MAX, 3)[: 26 * RATE_HZ])
    text = " ".join([WORDS] * 3)[:400]
    code, out, _ = persona(
        *("add", "bob", "--audio", long, "--audio", long, *RIGHTS),
        *("--text", text, "--text", text),
    )
    assert (code, own.exists()) == (1, False)
    assert "Together they last 52 s" in out


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--licence", "x"), "add --consent with whose voice it is and how that person agreed"),
        (("--consent", "x"), "add --licence with under which terms it may be used"),
        (("--consent", " ", "--licence", "x"), "--consent says nothing."),
        ((*RIGHTS, "--text", "a", "--text", "b"), "There are 1 --audio and 2 --text"),
        ((*RIGHTS, "--fallback-voice", "zz_top"), "--fallback-voice: There is no voice 'zz_top'"),
        ((*RIGHTS, "--audio", "none.wav"), "none.wav cannot be read: No such file"),
        ((*RIGHTS, "--stt", "huge"), "There is no model called 'huge'"),
    ],
)
def test_what_is_missing_is_said_before_anybody_listens(persona, own, mine, args, sentence):
    code, out, err = persona("add", "bob", "--audio", mine, *args)
    assert (code, out, own.exists()) == (1, "", False)
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["Bob", "b ob", "../bob", "", ".bob", "x" * 41])
def test_a_name_that_could_be_no_folder(persona, mine, name):
    code, _, err = persona("add", name, "--audio", mine, *RIGHTS)
    assert code == 1
    assert "is 1 to 40 lower-case letters, digits, - and _" in err


def test_a_persona_is_replaced_only_by_force(persona, own, mine, tmp_path):
    assert persona("add", "bob", "--audio", mine, "--prompt", "You are old.", *RIGHTS)[0] == 0
    code, _, err = persona("add", "bob", "--audio", mine, *RIGHTS)
    assert code == 1
    assert "exists; choose another name, or add --force to replace it." in err
    bad = write(tmp_path / "bad.wav", noise(5))
    assert persona("add", "bob", "--audio", bad, "--force", *RIGHTS)[0] == 1
    assert load_persona(own / "bob" / "persona.yaml").prompt == "You are old."
    assert persona("add", "bob", "--audio", mine, "--force", *RIGHTS)[0] == 0
    assert load_persona(own / "bob" / "persona.yaml").prompt.startswith("You are Bob.")
    assert [path.name for path in own.iterdir()] == ["bob"]


def test_a_folder_that_cannot_be_written_is_said(persona, own, mine):
    own.write_text("a file where the folder should be")
    code, _, err = persona("add", "bob", "--audio", mine, *RIGHTS)
    assert code == 1
    assert f"{own}/bob cannot be written: " in err


class Terminal:
    """A person at a terminal, with the real command in it."""

    def __init__(self, *args: str) -> None:
        self._side, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "persona", *args],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "TERM": "dumb"},
            start_new_session=True,
            # Its own terminal, or Ctrl-C would be a letter.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)
        self.screen = ""

    def wait_for(self, text: str, within_s: float = 60) -> None:
        """Reads until `text` stands there; what came before is taken as read."""
        deadline = time.monotonic() + within_s
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            if select.select([self._side], [], [], 0.2)[0]:
                try:
                    self.screen += os.read(self._side, 4096).decode(errors="replace")
                except OSError:  # the other side has closed
                    assert text in self.screen, self.screen
        self.screen = self.screen.split(text, 1)[1]

    def type(self, keys: str) -> None:
        """Types, with \\n as Enter."""
        os.write(self._side, keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C, as often as it takes: one that comes between the question and the reading of
        the answer is noticed only with the next key."""
        while self.process.poll() is None:
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(3)

    def close(self) -> int:
        """Waits for the end of the command; returns its exit code."""
        code = self.process.wait(60)
        os.close(self._side)
        return code


@pytest.fixture
def terminal(own):
    terminals: list[Terminal] = []

    def start(*args) -> Terminal:
        terminals.append(Terminal(args[0], "--dir", str(own), *map(str, args[1:])))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.process.kill()
        terminal.process.wait()


def test_a_person_corrects_the_words_and_says_whose_voice_it_is(terminal, own, mine):
    at = terminal("add", "bob", "--audio", mine)
    at.wait_for("Correct it to what is said, word for word; Enter.")
    at.wait_for("Any questions?")
    at.type(" Anybody?\n")
    at.wait_for("A voice is part of a person.")
    at.wait_for("Consent: ")
    at.type("\n")
    at.wait_for("Consent: ")
    at.type("It is my own voice.\n")
    at.wait_for("Under which terms may the recordings be used")
    at.wait_for("Licence: ")
    at.type("For my own use only.\n")
    at.wait_for("Talk to it: csm-agent serve --persona bob")
    assert at.close() == 0
    voice = yaml.safe_load((own / "bob" / "persona.yaml").read_text())["voice"]
    assert voice["references"][0]["text"].endswith("Any questions? Anybody?")
    assert voice["consent"] == "It is my own voice."
    assert voice["licence"] == "For my own use only."


def test_words_that_nobody_said_are_asked_about_again(terminal, own, mine):
    at = terminal("add", "bob", "--audio", mine, *RIGHTS)
    at.wait_for("Any questions?")
    at.type("\x15Quite another text, I think.\n")  # Ctrl-U clears the line
    at.wait_for("REFUSED  The text is not what is said")
    at.wait_for("Take your text all the same? [y/N] ")
    at.type("n\n")
    at.wait_for("Any questions?")
    at.type("\n")
    at.wait_for("Talk to it")
    assert at.close() == 0
    reference = load_persona(own / "bob" / "persona.yaml").voice.references[0]
    assert reference.text.endswith("Any questions?")


def test_who_leaves_leaves_nothing_behind(terminal, own, mine):
    at = terminal("add", "bob", "--audio", mine, "--yes")
    at.wait_for("Consent: ")
    at.type("\x04")
    at.wait_for("Stopped; nothing was written.")
    assert at.close() == 1
    at = terminal("add", "bob", "--audio", mine, "--yes")
    at.wait_for("Consent: ")
    at.interrupt()
    # Or by a second Ctrl-C while it was ending.
    assert at.close() in {130, -signal.SIGINT}
    assert not own.exists()
