"""The command line: help that helps, and failures in one sentence."""

import re
import socket
from pathlib import Path

import pytest

from agent.cli import build_parser, main, settings_from

ROOT = Path(__file__).resolve().parents[2]


def run(capsys, *argv):
    code = main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("serve", "doctor", "persona", "models"))


def test_every_command_that_the_readme_shows_exists():
    parser = build_parser()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", readme, re.M | re.S))
    shown = re.findall(r"^ *(?:CSM_AGENT\S+ )*csm-agent ([^#\n\\]+)", blocks, re.M)
    assert len(shown) >= 5
    for line in shown:
        parser.parse_args(line.split())


def test_a_command_whose_extra_is_missing_names_it(capsys, monkeypatch):
    def missing(args):
        raise ModuleNotFoundError("No module named 'xllamacpp'", name="xllamacpp")

    monkeypatch.setattr("agent.cli._doctor", missing)
    code, _, err = run(capsys, "doctor")
    assert code == 1
    assert err == "csm-agent: This needs an extra: pip install 'csm-agent[embedded]' (xllamacpp).\n"


def test_a_bug_is_not_taken_for_a_missing_extra(monkeypatch):
    def bug(args):
        raise ModuleNotFoundError("No module named 'agent.nowhere'", name="agent.nowhere")

    monkeypatch.setattr("agent.cli._doctor", bug)
    with pytest.raises(ModuleNotFoundError):
        main(["doctor"])


def test_settings_come_from_flags_and_set(monkeypatch):
    flags = ["--profile", "embedded", "--port", "0", "--persona", "max"]
    changes = ["--set", "stt.model=base.en", "--set", "turn.silence_s=0.8"]
    args = build_parser().parse_args(["serve", *flags, *changes])
    settings, line = settings_from(args)
    assert settings.server.port == 0
    assert settings.persona == "max"
    assert settings.stt.model == "base.en"
    assert settings.turn.silence_s == 0.8
    assert line == "Profile embedded."


def test_auto_says_which_profile_and_why(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _, line = settings_from(build_parser().parse_args(["serve"]))
    assert line.startswith("Profile embedded, picked for ")
    assert "cores" in line


def test_a_wrong_set_is_refused(capsys):
    code, _, err = run(capsys, "doctor", "--profile", "embedded", "--set", "port")
    assert code == 1
    assert "NAME=VALUE" in err


def test_doctor_is_content_with_what_the_scripts_install(capsys):
    code, out, _ = run(capsys, "doctor", "--profile", "embedded", "--set", "server.port=0")
    assert code == 0, out
    assert "can start" in out


def test_doctor_says_what_is_missing_and_what_mends_it(capsys):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        taken = sock.getsockname()[1]
        code, out, _ = run(
            capsys,
            *("doctor", "--profile", "embedded"),
            *("--set", f"server.port={taken}", "--set", "stt.model=nowhere.en"),
            *("--set", "llm.provider=openai", "--set", "llm.base_url=http://127.0.0.1:9/v1"),
        )
    assert code == 1
    assert "cannot start: 3 missing" in out
    assert "mend it: csm-agent serve --port 0" in out
    assert "http://127.0.0.1:9/v1 does not answer" in out
