"""Personas: a prompt, a manner and a voice in one file."""

import pytest

from agent.config import ConfigError
from agent.persona import choose, load_persona, load_personas

MINIMAL = """
display_name: Bo
prompt: You are Bo.
voice: {kokoro: af_heart, licence: Apache-2.0, consent: synthetic}
"""


def write(folder, name, text):
    (folder / name).mkdir()
    path = folder / name / "persona.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_three_that_ship_differ_in_manner_and_voice():
    personas = load_personas()
    assert set(personas) == {"ada", "max", "edith"}
    assert len({p.voice.kokoro for p in personas.values()}) == 3
    assert len({p.prompt for p in personas.values()}) == 3
    assert all(p.greeting and p.voice.licence and p.voice.consent for p in personas.values())


def test_the_system_prompt_makes_answers_speakable():
    prompt = load_personas()["ada"].system_prompt
    assert "You are Ada" in prompt
    assert "no markdown" in prompt


def test_more_personas_can_be_added_and_replace_shipped_ones(tmp_path):
    write(tmp_path, "bo", MINIMAL)
    write(tmp_path, "ada", MINIMAL)
    personas = load_personas(tmp_path)
    assert set(personas) == {"ada", "bo", "edith", "max"}
    assert personas["ada"].display_name == "Bo"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("bo", MINIMAL.replace("prompt", "promt"), "promt.*did you mean 'prompt'"),
        ("bo", MINIMAL.replace("kokoro:", "kokro:"), "kokro.*did you mean 'kokoro'"),
        ("bo", MINIMAL.replace(", consent: synthetic", ""), "'voice.consent'"),
        ("Bo B", MINIMAL, "lower-case"),
    ],
)
def test_a_broken_persona_is_refused_in_one_sentence(tmp_path, name, text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_persona(write(tmp_path, name, text))


def test_an_unknown_persona_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'edith'"):
        choose(load_personas(), "edit")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no folder of personas"):
        load_personas(tmp_path / "none")
