"""`csm-agent persona check`."""

import shutil

import pytest

from agent.resources import configs_dir
from tests.recordings import spoken, two_people, write


@pytest.fixture
def granny(own):
    """A copy of Edith that can be spoilt."""
    shutil.copytree(configs_dir() / "personas" / "edith", own / "granny")
    return own / "granny"


def change(folder, old, new):
    path = folder / "persona.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("name", sorted(p.name for p in (configs_dir() / "personas").iterdir()))
def test_those_that_ship_are_well_and_say_what_is_written(persona, name):
    code, out, _ = persona("check", name)
    assert code == 0, out
    assert f"{name}: all is well." in out
    assert "The text is what is said, word for word." in out
    assert "The fallback voice is Kokoro's" in out


def test_a_persona_is_found_by_name_folder_and_file(persona, granny):
    for given in ("granny", granny, granny / "persona.yaml"):
        code, out, _ = persona("check", given)
        assert (code, "granny: all is well." in out) == (0, True)


def test_what_is_refused_is_the_exit_code(persona, granny):
    write(granny / "reference.flac", two_people())
    code, out, _ = persona("check", "granny")
    assert code == 1
    assert "REFUSED  Two people speak" in out
    assert "REFUSED  The text is not what is said" in out
    assert "granny: 2 refused" in out


def test_a_warning_is_said_and_let_pass(persona, granny):
    samples, _ = spoken("edith")
    write(granny / "reference.flac", samples, 11_025)
    code, out, _ = persona("check", "granny")
    assert code == 0
    assert "warning  Nothing above 5.5 kHz" in out
    assert "granny: 1 warning." in out


def test_two_recordings_of_two_people(persona, granny):
    samples, text = spoken("max")
    write(granny / "second.flac", samples)
    change(granny, "  kokoro:", f"    - {{audio: second.flac, text: '{text}'}}\n  kokoro:")
    code, out, _ = persona("check", "granny")
    assert code == 1
    assert "REFUSED  It is not the person of reference.flac" in out


def test_a_persona_without_consent_is_refused_with_what_to_add(persona, granny):
    change(granny, "  consent:", "  # consent:")
    code, out, err = persona("check", "granny")
    assert (code, out) == (1, "")
    assert "'voice.consent' is missing" in err
    assert "add it, for example: consent: It is my own voice" in err


def test_a_fallback_voice_that_is_not_there_is_refused(persona, granny):
    change(granny, "kokoro: bf_emma", "kokoro: bf_emily")
    code, out, _ = persona("check", "granny")
    assert code == 1
    assert "REFUSED  The fallback voice: There is no voice 'bf_emily'; choose one of" in out


def test_no_recordings_are_no_fault(persona, own):
    (own / "bo").mkdir(parents=True)
    (own / "bo" / "persona.yaml").write_text(
        "display_name: Bo\nprompt: You are Bo.\n"
        "voice: {kokoro: af_heart, licence: Apache-2.0, consent: synthetic}\n"
    )
    code, out, _ = persona("check", "bo")
    assert code == 0
    assert "It has no recordings: CSM would pick a voice by itself." in out


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("edit", "There is no persona 'edit'; did you mean 'edith'"),
        ("./nowhere", "There is no persona at nowhere: nowhere/persona.yaml is not there."),
        ("Édith", "A persona's name, 'Édith', is 1 to 40 lower-case letters"),
    ],
)
def test_a_persona_that_is_not_there(persona, name, sentence):
    code, _, err = persona("check", name)
    assert code == 1
    assert sentence in err


def test_a_whisper_that_is_not_there_is_said(persona):
    code, _, err = persona("check", "ada", "--stt", "tiny.de")
    assert code == 1
    assert "There is no model called 'tiny.de'; did you mean tiny.en?" in err
