"""`csm-agent persona list`."""

import shutil

from agent.resources import configs_dir

EDITH = configs_dir() / "personas" / "edith"


def test_it_names_recordings_fallback_voice_and_licence(persona):
    code, out, _ = persona("list")
    assert code == 0
    assert "edith    Edith: A dry British wit with a soft heart." in out
    assert "1 recording, else Kokoro's bf_emma; Apache-2.0 (Kokoro-82M, hexgrad)" in out


def test_ones_own_are_among_them(persona, own):
    shutil.copytree(EDITH, own / "granny")
    assert "granny   Edith:" in persona("list")[1]


def test_another_folder_can_be_named(persona, tmp_path):
    shutil.copytree(EDITH, tmp_path / "others" / "aunt")
    assert "aunt     Edith:" in persona("list", "--dir", tmp_path / "others")[1]
    code, _, err = persona("list", "--dir", tmp_path / "none")
    assert (code, "no folder of personas" in err) == (1, True)
