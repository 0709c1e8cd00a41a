"""csm-agent doctor --checkpoint, on a tiny checkpoint: real comparison, real Whisper."""

import pytest

from agent.cli import main
from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm


def test_a_checkpoint_that_agrees_with_transformers(tmp_path, capsys):
    folder = save_tiny(tiny_csm(), tmp_path)
    assert main(["doctor", "--checkpoint", str(folder), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "ok    25 frames" in out
    assert "100.00% of the likeliest codes" in out
    assert "heard  " in out


def test_a_model_that_differs_is_bad(tmp_path, capsys, monkeypatch):
    folder = save_tiny(tiny_csm(), tmp_path)
    import pipecat_csm.comparison as comparison

    def skewed(*args):
        return reference(*args) * 1.01

    reference = comparison.reference_logits
    monkeypatch.setattr(comparison, "reference_logits", skewed)
    assert main(["doctor", "--checkpoint", str(folder), "--device", "cpu"]) == 1
    assert "BAD " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["no/such/folder", "."])
def test_no_checkpoint_is_one_sentence(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--checkpoint", str(tmp_path / name), "--device", "cpu"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("csm-agent: ")
