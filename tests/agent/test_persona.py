"""Personas: a prompt, a manner and a voice in one file."""

import re
from itertools import combinations

import pytest
import soundfile

from agent.config import ConfigError
from agent.persona import (
    choose,
    load_persona,
    load_personas,
    personas_dir,
    user_personas_dir,
)
from agent.reference import MAX_POSITIONS, positions, reference_path
from tests.recordings import noise
from tests.recordings import write as write_recording

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


SHIPPED = {"ada", "alloy", "echo", "edith", "fable", "max", "nova", "onyx", "shimmer"}


def test_those_that_ship_differ_in_manner_and_voice():
    personas = load_personas()
    assert set(personas) == SHIPPED
    for one, other in combinations(personas.values(), 2):
        assert one.voice.kokoro != other.voice.kokoro
        assert one.prompt != other.prompt
    assert all(p.greeting and p.voice.licence and p.voice.consent for p in personas.values())


def test_those_that_ship_have_recordings_of_8_to_12_s():
    for persona in load_personas().values():
        (reference,) = persona.voice.references
        path = reference_path(persona.folder, reference)
        header = soundfile.info(path)
        assert (header.samplerate, header.channels, header.format) == (24_000, 1, "FLAC")
        assert 8 <= header.duration <= 12
        assert path.stat().st_size < 300_000


def test_the_system_prompt_makes_answers_speakable():
    prompt = load_personas()["ada"].system_prompt
    assert "You are Ada" in prompt
    assert "no markdown" in prompt


def test_more_personas_can_be_added_and_replace_shipped_ones(tmp_path):
    write(tmp_path, "bo", MINIMAL)
    write(tmp_path, "ada", MINIMAL)
    personas = load_personas(tmp_path)
    assert set(personas) == SHIPPED | {"bo"}
    assert personas["ada"].display_name == "Bo"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("bo", MINIMAL.replace("prompt", "promt"), "promt.*did you mean 'prompt'"),
        ("bo", MINIMAL.replace("kokoro:", "kokro:"), "kokro.*did you mean 'kokoro'"),
        (
            "bo",
            MINIMAL.replace(", consent: synthetic", ""),
            "'voice.consent' is missing.*; add it, for example: consent: It is my own voice",
        ),
        ("bo", MINIMAL.replace("licence: Apache-2.0, ", ""), "for example: licence: My own voice"),
        ("bo", MINIMAL.replace("synthetic", "' '"), "'voice.consent'.*at least 1 character"),
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


# The recordings.


@pytest.fixture
def with_recordings(tmp_path):
    """Writes a persona with a recording of 5 s; fields replace those of its reference."""
    folder = tmp_path / "bo"

    def make(audio: str = "a.flac", text: str = "Hello.", more: str = "") -> None:
        folder.mkdir(exist_ok=True)
        write_recording(folder / "a.flac", noise(5))
        reference = f"references: [{{audio: '{audio}', text: '{text}'}}{more}], "
        path = folder / "persona.yaml"
        path.write_text(MINIMAL.replace("{kokoro", f"{{{reference}kokoro"), encoding="utf-8")
        load_persona(path)

    return make


def test_recordings_lie_beside_the_file(tmp_path, with_recordings):
    with_recordings()
    persona = load_persona(tmp_path / "bo" / "persona.yaml")
    (reference,) = persona.voice.references
    assert reference_path(persona.folder, reference) == tmp_path / "bo" / "a.flac"
    assert (persona.voice.speaker, persona.voice.temperature, persona.voice.top_k) == (
        0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"audio": "b.flac"}, "recording 'b.flac' of persona .* is not there; put it into"),
        ({"audio": "../a.flac"}, "lies outside its persona's folder .*; copy it there"),
        ({"audio": "/etc/hostname"}, "lies outside its persona's folder"),
        ({"audio": "persona.yaml"}, r"persona\.yaml is not a recording that can be read"),
        ({"text": ""}, "'voice.references.0.text'"),
        ({"more": ", {audio: a.flac, txt: Hi.}"}, "'voice.references.1.txt'.*did you mean 'text'"),
        ({"more": ", {audio: a.flac}"}, "'voice.references.1.text' is missing"),
        ({"more": 7 * ", {audio: a.flac, text: Hi.}"}, "last 40 s and take about 5.. of the 512"),
        ({"more": 8 * ", {audio: a.flac, text: Hi.}"}, "'voice.references'.*at most 8 items"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused(with_recordings, fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        with_recordings(**fields)


def test_a_link_out_of_the_folder_is_refused(tmp_path, with_recordings):
    with_recordings()
    write_recording(tmp_path / "secret.flac", noise(5))
    (tmp_path / "bo" / "b.flac").symlink_to(tmp_path / "secret.flac")
    with pytest.raises(ConfigError, match="lies outside"):
        with_recordings("b.flac")


def test_an_empty_recording_is_said(tmp_path, with_recordings):
    with_recordings()
    (tmp_path / "bo" / "b.flac").touch()
    with pytest.raises(ConfigError, match=r"b\.flac is empty"):
        with_recordings("b.flac")


def test_half_a_minute_of_speech_fits_and_a_whole_one_does_not():
    words = "word " * 75  # 150 words a minute
    assert positions(30, words) <= MAX_POSITIONS < positions(60, 2 * words)


def test_the_estimate_is_not_below_what_csm_counts():
    (reference,) = load_personas()["ada"].voice.references
    # A common word and a mark are a token each; then a frame each 80 ms, the frame that ends them,
    # "[0]" in three tokens, and the text's begin and end.
    tokens = len(re.findall(r"\w+|[^\w\s]", reference.text))
    assert positions(8.4, reference.text) >= tokens + 105 + 1 + 3 + 2


# Where one's own lie.


def test_ones_own_folder_is_read_if_it_exists_and_another_if_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_personas_dir() == tmp_path / "csm-agent" / "personas"
    assert personas_dir() is None
    user_personas_dir().mkdir(parents=True)
    assert personas_dir() == user_personas_dir()
    assert personas_dir(tmp_path / "other") == tmp_path / "other"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_personas_dir() == tmp_path / ".config" / "csm-agent" / "personas"
