"""`csm-agent models list|fetch`, as a person and as a script call it."""

import argparse
import shutil

import pytest

from agent.models import EMBEDDED, MODELS, commands
from agent.models.commands import add_parser


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *words])
    return args.run(args)


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in text.splitlines() if line}


def test_list_shows_every_model_with_kind_size_licence_and_place(packaged, capsys):
    assert run("list") == 0
    shown = rows(capsys.readouterr().out)
    assert set(MODELS) <= set(shown)
    assert shown["large-v3-turbo"][1:6] == ["whisper", "1.6", "GB", "MIT", "hub"]
    assert shown["toy"][1:6] == ["whisper", "0", "MB", "MIT", "package"]


def test_list_says_what_is_damaged(packaged, capsys):
    (packaged / "model.bin").write_bytes(b"half")
    run("list")
    assert rows(capsys.readouterr().out)["toy"][5:8] == ["not", "here", "(damaged)"]


def test_fetch_checks_and_shows_the_embedded_models(capsys):
    assert run("fetch") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == list(EMBEDDED)


def test_fetch_if_needed_is_silent_when_all_is_here(capsys):
    assert run("fetch", "--if-needed") == 0
    assert run("fetch", "--if-needed") == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_fetch_of_a_name_adds_the_embedded_models_only_when_told(packaged, capsys):
    run("fetch", "toy")
    assert rows(capsys.readouterr().out).keys() == {"toy:"}
    run("fetch", "toy", "--all-embedded")
    assert rows(capsys.readouterr().out).keys() == {"toy:", *(f"{name}:" for name in EMBEDDED)}


def test_fetch_joins_what_comes_in_parts(split, cache):
    assert run("fetch", "joined", "--if-needed") == 0
    assert (cache / "models" / "joined" / "whole.onnx").exists()


def test_fetch_downloads_with_a_line_and_ends_in_the_path(hub, cache, capsys):
    assert run("fetch", "toy") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["Downloading toy (0 MB) from toys/toy", f"toy: {cache}/models/toy"]


def test_fetch_mends_damage_that_left_size_and_time_alone(hub, cache):
    import os

    run("fetch", "toy")
    path = cache / "models" / "toy" / "model.bin"
    good, before = path.read_bytes(), path.stat()
    path.write_bytes(b"x" + good[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run("fetch", "toy") == 0
    assert path.read_bytes() == good


def test_what_fails_is_said_on_standard_error_and_the_others_are_still_fetched(
    packaged, split, capsys
):
    shutil.rmtree(split[0].parent)
    assert run("fetch", "no-such-model", "toy") == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: There is no model called 'no-such-model'")
    assert shown.out.startswith("toy:")


def test_without_a_subcommand_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit):
        run()
    assert "list|fetch" in capsys.readouterr().err


def test_the_default_is_the_embedded_models():
    assert set(commands.EMBEDDED) == {
        *("tiny.en", "smollm2-135m-instruct", "kokoro-82m"),
        "resemblyzer",
    }
