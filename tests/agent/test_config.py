"""Settings: typed, validated once, and errors that name the nearest right name."""

from pathlib import Path

import pytest
import yaml

from agent.config import ConfigError, load_settings, profile_names, validate
from agent.resources import configs_dir
from agent.settings import CSMSettings, Settings

ORIGIN_SENTENCE = (
    "'server.allowed_origins.0'.*'talk.example': an origin is '\\*' or scheme://host, as in "
    "https://talk.example.org or http://localhost:8080, without a path\\.$"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", [n for n in profile_names() if n != "auto"])
def test_every_shipped_profile_is_valid(name):
    assert load_settings(name, environ={})


def test_the_example_shows_every_setting_with_its_default():
    shown = yaml.safe_load((configs_dir() / "example.yaml").read_text())
    defaults = Settings().model_dump(mode="json")
    assert {k: set(v) if isinstance(v, dict) else v for k, v in shown.items()} == {
        k: set(v) if isinstance(v, dict) else v for k, v in defaults.items()
    }
    assert load_settings("example", environ={}) == Settings()


def test_a_profile_changes_only_what_it_names(tmp_path):
    profile = write(tmp_path / "mine.yaml", "base: embedded\nllm: {max_tokens: 50}\n")
    settings = load_settings(profile, environ={})
    assert settings.llm.max_tokens == 50
    assert settings.llm.provider == "embedded"
    assert settings.stt.model == "tiny.en"


def test_a_base_may_lie_beside_the_profile(tmp_path):
    write(tmp_path / "house.yaml", "server: {port: 9000}\n")
    profile = write(tmp_path / "mine.yaml", "base: house.yaml\nserver: {max_sessions: 2}\n")
    server = load_settings(profile, environ={}).server
    assert (server.port, server.max_sessions) == (9000, 2)


def test_the_small_csm_is_chosen_by_one_word(tmp_path):
    profile = write(tmp_path / "mine.yaml", "base: embedded\ntts: csm-mini\n")
    chosen = load_settings(profile, environ={}).tts
    assert chosen == load_settings("embedded", overrides={"tts.engine": "csm-mini"}, environ={}).tts
    assert chosen == load_settings("csm-mini", environ={}).tts
    assert chosen.csm_settings.checkpoint == "csm-mini"
    # The kernels that make it fast on a processor are for 16 bits; who wants others may say so.
    assert chosen.csm_settings.dtype == "bfloat16"
    exact = chosen.model_copy(update={"csm": CSMSettings(dtype="float32")})
    assert exact.csm_settings.dtype == "float32"
    assert load_settings("csm-cpu", environ={}).tts.csm_settings.checkpoint == "sesame/csm-1b"


def test_the_environment_overrides_the_profile_and_is_read_as_yaml():
    environ = {
        "CSM_AGENT__STT__MODEL": "base.en",
        "CSM_AGENT__SERVER__PORT": "0",
        "CSM_AGENT__TRANSPORTS": "[webrtc]",
        "UNRELATED": "x",
    }
    settings = load_settings("embedded", environ=environ)
    assert settings.stt.model == "base.en"
    assert settings.server.port == 0
    assert settings.transports == ("webrtc",)


def test_the_command_line_overrides_the_environment():
    settings = load_settings(
        "embedded",
        environ={"CSM_AGENT__SERVER__PORT": "1234"},
        overrides={"server.port": 4321},
    )
    assert settings.server.port == 4321


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stt: {modle: x}", "Unknown setting 'stt.modle'.*did you mean 'model'"),
        ("sst: {model: x}", "Unknown setting 'sst'.*did you mean 'stt'"),
        ("server: {port: 70000}", "'server.port'.*70000"),
        ("vad: {engine: krisp}", "'vad.engine'.*'silero', 'webrtc' or 'hybrid'"),
        ("server: {allowed_origins: [talk.example]}", ORIGIN_SENTENCE),
        ("- a\n- b", "must be a mapping"),
        ("stt: {model: [", "not valid YAML in line"),
        ("base: mine.yaml", "its own base"),
        ("base: embeded", "no profile 'embeded'; did you mean 'embedded'"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_sentence(tmp_path, text, sentence):
    with pytest.raises(ConfigError, match=sentence) as refusal:
        load_settings(write(tmp_path / "mine.yaml", text), environ={})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://talk.example.org",
        "HTTP://Localhost:8080",
        "http://[::1]:7860",
        "chrome-extension://abcdefgh",
    ],
)
def test_an_origin_as_a_browser_sends_it_is_taken(origin):
    settings = validate({"server": {"allowed_origins": [origin]}}, source="test")
    assert settings.server.allowed_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "talk.example.org",
        "talk.example.org:443",
        "//talk.example.org",
        "https://",
        "https://talk.example.org/",
        "https://talk.example.org/page",
        "https://talk.example.org?x=1",
        "https://talk.example.org#x",
        "https://user@talk.example.org",
        "https://*.example.org",
        "https://talk.example.org:",
        "https://talk.example.org:x",
        "https://talk.example.org:70000",
        "https://[::1",
        "https://[1.2]",
        "https://two words",
        "https://a.example\n",
        "https://a.example,https://b.example",
    ],
)
def test_what_is_not_an_origin_is_refused_in_one_sentence(origin):
    with pytest.raises(ConfigError, match="an origin is ") as refusal:
        validate({"server": {"allowed_origins": ["*", origin]}}, source="test")
    assert str(refusal.value).startswith("Setting 'server.allowed_origins.1' in test is ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("CSM_AGENT__STT__MODLE", "did you mean 'model'"),
        ("CSM_AGENT__SPEECH", "Unknown setting 'speech'"),
        ("CSM_AGENT__PERSONA__NAME__X", "does not name a setting"),
    ],
)
def test_a_wrong_environment_variable_is_refused(tmp_path, name, sentence):
    profile = write(tmp_path / "mine.yaml", "persona: max\n")
    with pytest.raises(ConfigError, match=sentence):
        load_settings(profile, environ={name: "x"})


def test_a_missing_profile_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'embedded'"):
        load_settings("embeded", environ={})
    with pytest.raises(ConfigError, match="no profile file"):
        load_settings("nowhere/mine.yaml", environ={})
