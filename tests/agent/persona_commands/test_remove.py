"""`csm-agent persona remove`."""

import io
import re
import shutil

import pytest

from agent.resources import configs_dir


@pytest.fixture
def granny(own):
    shutil.copytree(configs_dir() / "personas" / "edith", own / "granny")
    return own / "granny"


def test_it_deletes_the_folder_with_its_recordings(persona, granny):
    assert persona("remove", "granny", "--yes") == (0, f"Deleted {granny}.\n", "")
    assert not granny.exists()


def test_without_a_terminal_it_wants_a_yes(persona, granny, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, _, err = persona("remove", "granny")
    assert code == 1
    assert err == f"csm-agent: This deletes {granny} and its recordings; add --yes to do it.\n"
    assert granny.exists()


def test_a_link_goes_and_what_it_leads_to_stays(persona, granny, own, tmp_path):
    granny.rename(tmp_path / "elsewhere")
    granny.symlink_to(tmp_path / "elsewhere")
    assert persona("remove", "granny", "--yes")[0] == 0
    assert not granny.is_symlink()
    assert (tmp_path / "elsewhere" / "persona.yaml").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("max", "'max' ships with csm-agent, in .*; it stays"),
        ("grany", "There is no persona 'grany'; did you mean 'granny'"),
        ("../granny", "A persona's name, '../granny', is 1 to 40 lower-case letters"),
        ("", "A persona's name, '', is"),
    ],
)
def test_only_ones_own_can_be_removed(persona, granny, name, sentence):
    code, _, err = persona("remove", name, "--yes")
    assert code == 1
    assert re.search(sentence, err)
    assert granny.exists()


def test_a_broken_persona_can_be_removed_too(persona, granny):
    (granny / "persona.yaml").write_text("nonsense: [")
    assert persona("remove", "granny", "--yes")[0] == 0
