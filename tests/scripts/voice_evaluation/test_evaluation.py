"""scripts/evaluate_voice from the command line to the report, with every model real but CSM."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pipecat_csm.wav import read_wav

from scripts.voice_evaluation.conversation import turns
from tests.scripts.voice_evaluation.conftest import report_of

NUMBER = (int, float)
ROW = {
    "turn": int, "text": str, "heard": str, "seconds": NUMBER, "rtf": NUMBER, "similarity": NUMBER,
    "nearest": str, "nearest_similarity": NUMBER, "right_voice": bool, "words": int,
    "word_errors": int, "wer": NUMBER, "quality": NUMBER,
}  # fmt: skip
OVERALL = {
    "turns": int, "seconds": NUMBER, "rtf": NUMBER, "similarity": NUMBER,
    "similarity_lowest": NUMBER, "edge_turns": int, "similarity_first": NUMBER,
    "similarity_last": NUMBER, "drift": NUMBER, "first_to_last": NUMBER, "right_voice_rate": NUMBER,
    "nearest": str, "nearest_similarity": NUMBER, "words": int, "word_errors": int, "wer": NUMBER,
    "quality": NUMBER, "quality_lowest": NUMBER,
}  # fmt: skip
OTHERS = {"alloy", "echo", "edith", "fable", "max", "nova", "onyx", "shimmer"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kept") / "turns"


@pytest.fixture(scope="module")
def shown(folder) -> tuple[dict[str, Any], str]:
    """Two turns of the embedded voice as Ada: the report, and what was printed."""
    return report_of(
        *("--voice", "kokoro", "--persona", "ada", "--turns", "2", "--keep", folder),
        *("--out", folder.parent / "report.json"),
    )


@pytest.fixture(scope="module")
def ada(shown) -> dict[str, Any]:
    return shown[0]


@pytest.fixture(scope="module")
def tiny(checkpoint, short_reference, tmp_path_factory) -> dict[str, Any]:
    """Two turns of a CSM of random weights."""
    return report_of(
        *("--checkpoint", checkpoint, "--device", "cpu", *short_reference, "--turns", "2"),
        *("--out", tmp_path_factory.mktemp("tiny") / "report.json"),
    )[0]


def check_schema(report: dict[str, Any]) -> None:
    assert set(report) == {"about", "reference", "caller", "others", "turns", "overall"}
    assert set(report["about"]) == {"voice", "machine", "date", "whisper", "seed", "python"}
    for row in report["turns"]:
        assert set(row) == {*ROW, "runaway"}
        assert all(isinstance(row[name], kind) for name, kind in ROW.items()), row
    assert set(report["overall"]) == {*OVERALL, "runaway_rate"}
    for name, kind in OVERALL.items():
        assert isinstance(report["overall"][name], kind), name


@pytest.mark.slow
class TestTheEmbeddedVoice:
    def test_it_is_understood_and_sounds_like_its_reference(self, ada):
        found = ada["overall"]
        assert found["turns"] == 2
        assert found["wer"] <= 0.1
        assert found["similarity_lowest"] > 0.85
        assert found["similarity"] > found["nearest_similarity"]
        assert found["right_voice_rate"] == 1
        assert found["quality_lowest"] > 3.5
        assert found["runaway_rate"] is None, "nobody watches it"

    def test_the_report_is_of_one_form(self, ada):
        check_schema(ada)
        assert ada["reference"] == "ada"
        assert set(ada["others"]) == OTHERS
        assert ada["caller"] == min(ada["others"], key=ada["others"].get)
        assert [row["text"] for row in ada["turns"]] == [turn.answered for turn in turns()[:2]]

    def test_the_turns_are_kept_as_they_were_heard(self, ada, folder):
        names = ["01-caller.wav", "01-reply.wav", "02-caller.wav", "02-reply.wav"]
        assert sorted(path.name for path in folder.iterdir()) == names
        for number, row in enumerate(ada["turns"], 1):
            samples, rate_hz = read_wav(folder / f"{number:02}-reply.wav")
            assert rate_hz == 24_000
            assert len(samples) / rate_hz == pytest.approx(row["seconds"], abs=1e-3)

    def test_another_voice_is_found_out(self, evaluate, ada):
        blend = "am_michael:90,bm_george:10"
        code, out, err = evaluate("--voice", blend, "--turns", "1", "--json", "--caller", "edith")
        assert code == 0, err
        report = json.loads(out)
        assert report["about"]["voice"] == f"Kokoro's {blend}"
        assert report["caller"] == "edith"
        (row,) = report["turns"]
        assert row["nearest"] == "max", "whose voice is am_michael"
        assert not row["right_voice"]
        assert row["similarity"] < ada["overall"]["similarity_lowest"] - 0.2
        assert report["overall"]["right_voice_rate"] == 0

    def test_the_table_has_every_turn(self, shown):
        head, *rest = shown[1].splitlines()
        assert head.startswith("Kokoro, to sound like ada; ")
        lines = [line for line in rest if line.startswith("| ")]
        assert [line[:4] for line in lines[1:3]] == ["| 1 ", "| 2 "]
        assert lines[2].count("|") == lines[0].count("|") == 10
        assert any(line.startswith("| WER | 0.0 %") for line in lines)
        assert "| run-aways | - |" in lines


@pytest.mark.slow
class TestCSM:
    def test_every_figure_is_there_even_if_it_is_nonsense(self, tiny):
        check_schema(tiny)
        assert tiny["reference"] == "max.wav"
        assert set(tiny["others"]) == {*OTHERS, "ada"}
        assert tiny["overall"]["turns"] == len(tiny["turns"]) == 2
        assert 0 <= tiny["overall"]["runaway_rate"] <= 1
        assert all(1 <= row["quality"] <= 5 for row in tiny["turns"])
        assert all(row["seconds"] > 0 for row in tiny["turns"])

    def test_random_weights_are_neither_understood_nor_the_voice(self, tiny):
        assert tiny["overall"]["wer"] > 0.8
        assert tiny["overall"]["similarity"] < 0.8

    def test_another_seed_is_another_conversation(
        self, evaluate, tiny, checkpoint, short_reference
    ):
        given = ("--checkpoint", checkpoint, "--device", "cpu", *short_reference)
        code, out, err = evaluate(*given, "--turns", "1", "--seed", "1", "--json")
        assert code == 0, err
        assert json.loads(out)["turns"][0]["similarity"] != tiny["turns"][0]["similarity"]


class TestWhatGoesWrongIsOneSentence:
    @pytest.mark.parametrize(
        ("args", "sentence"),
        [
            (["--voice", "kokoro", "--persona", "adda"], "There is no persona 'adda'; did you"),
            (["--voice", "af_hart", "--turns", "1"], "There is no voice 'af_hart'; choose one of"),
            (["--voice", "kokoro", "--whisper", "tinny"], "There is no model called 'tinny'"),
            (["--voice", "kokoro", "--caller", "nobody"], "There is no persona 'nobody'"),
            (["--checkpoint", "/nowhere", "--persona", "ada"], "/nowhere"),
            (["--voice", "kokoro", "--reference-text", "Hi"], "There are 0 --reference and 1"),
            (["--voice", "kokoro", "--keep", "/dev/null/x"], "/dev/null/x cannot be written: Not"),
            (["--voice", "kokoro", "--out", "/"], "/ cannot be written"),
        ],
    )
    def test_a_wrong_name(self, evaluate, args, sentence):
        code, out, err = evaluate(*args)
        assert (code, out) == (1, "")
        assert err.startswith("evaluate_voice: ")
        assert sentence in err
        assert len(err.splitlines()) == 1

    def test_a_reference_that_is_too_long_for_the_checkpoint(self, evaluate, checkpoint):
        code, _, err = evaluate("--checkpoint", checkpoint, "--device", "cpu", "--persona", "ada")
        assert code == 1
        assert "evaluate_voice: The references take " in err

    def test_kokoro_is_a_personas_voice(self, evaluate, short_reference):
        code, _, err = evaluate("--voice", "kokoro", *short_reference)
        assert code == 1
        assert "say which, as in --voice af_heart." in err

    @pytest.mark.parametrize("count", ["0", "21", "many"])
    def test_more_turns_than_there_are(self, evaluate, capsys, count):
        with pytest.raises(SystemExit):
            evaluate("--voice", "kokoro", "--turns", count)
        assert "the conversation has 1 to 20 turns" in capsys.readouterr().err

    def test_distillmos_is_not_installed(self, evaluate, monkeypatch):
        for name in [n for n in sys.modules if n.startswith("scripts.voice_evaluation.")]:
            if not name.endswith("__main__"):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "distillmos", None)
        code, _, err = evaluate("--voice", "kokoro")
        assert code == 1
        expected = "This needs an extra: pip install 'csm-agent[evaluate]' (distillmos)."
        assert err == f"evaluate_voice: {expected}\n"


def test_there_are_twenty_turns_and_none_twice():
    script = turns()
    assert len(script) == 20
    assert len({turn.answered for turn in script}) == len({turn.asked for turn in script}) == 20
