"""The command line: what it does on a corpus, and what it says where it cannot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.models import ModelError, resolve
from scripts.mini_training.__main__ import main
from scripts.mini_training.arguments import STAGES
from scripts.mini_training.data.corpus import SAMPLE_RATE_HZ
from scripts.mini_training.data.speaking import Reader
from scripts.mini_training.data.voices import Voice
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.run import agree
from scripts.voice_evaluation.judges import for_judges
from scripts.voice_evaluation.words import Listener, compare
from tests.scripts.mini_training.conftest import Beeper


def test_help_tells_every_stage(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {stage} " in shown for stage in (*STAGES, "all"))


@pytest.mark.parametrize("minutes", ["0", "-1", "soon", "inf"])
def test_minutes_that_make_no_sense_are_refused(minutes: str):
    with pytest.raises(SystemExit, match="2"):
        main(["codec", "--minutes", minutes])


@pytest.mark.parametrize(
    "line",
    [
        "codec --threads 0",
        "data --seed -1",
        "encode --shifts 0",
        "evaluate --sentences 0",
        "evaluate --after -1",
        "speech --listen some",
        "speech --rate 3",
        "data --text book.txt --vocabulary closed",
    ],
)
def test_numbers_that_make_no_sense_are_refused(line: str):
    with pytest.raises(SystemExit, match="2"):
        main(line.split())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("data --text there-is-none.txt", "there-is-none.txt cannot be read: No such file"),
        ("all --device gpu", "--device gpu is none: cpu or cuda."),
    ],
)
def test_what_is_not_there_is_said(
    line: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([*line.split(), "--work", str(tmp_path)]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run.json").exists(), "nothing was begun"


def test_a_run_goes_on_as_it_was_begun(tmp_path: Path):
    agree(tmp_path, size="small", text=None)
    agree(tmp_path, size="small")
    agree(tmp_path, shifts=3, text=None)
    with pytest.raises(TrainingError, match="begun with --size small; go on so, or"):
        agree(tmp_path, size="large")
    with pytest.raises(TrainingError, match="begun without --text;"):
        agree(tmp_path, text="book.txt")
    agree(tmp_path, shifts=3, size="small")


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("codec", "run the data stage first"),
        ("encode", "run the codec stage first"),
        ("speech", "run the codec stage first"),
        ("export", "run the speech stage first"),
        ("evaluate", "run the export stage first"),
    ],
)
def test_a_stage_says_what_must_come_before_it(
    stage: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([stage, "--work", str(tmp_path), "--listen", "0"]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_a_stage_after_the_other_makes_a_checkpoint_that_is_judged(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    work = data.parent
    common = ["--work", str(work), "--size", "smoke"]
    for stage in ("codec", "encode", "speech"):
        assert main([stage, *common, "--minutes", "0.02", "--listen", "1", "--shifts", "2"]) == 0
    with np.load(work / "codes" / "heldout-00000.npz") as held_out:
        # What is held out is judged at its own pace.
        assert held_out["paces"].tolist() == [1.0, 1.0]
    assert main(["export", *common]) == 0
    # As in a new clone: what is held out is spoken first.
    monkeypatch.setattr("scripts.mini_training.data.speaking.Reader", lambda threads: Beeper())
    there = ["--work", str(tmp_path), "--size", "smoke", "--checkpoint", str(work / "checkpoint")]
    keep = ["--sentences", "1", "--keep", str(tmp_path / "heard")]
    assert main(["evaluate", *there, *keep]) == 0
    table = capsys.readouterr().out.strip().splitlines()
    assert table[0].startswith("| way | sentences | seconds | WER tiny.en | similarity |")
    assert [line.split(" | ")[0].strip("| ") for line in table[2:]] == [
        "recordings",
        "through the codec",
        "learned voices, with context",
        "unseen voices, with context",
        "without context",
    ]
    assert len(list((tmp_path / "heard").glob("*.wav"))) == 5
    assert not list((tmp_path / "data").glob("train-*"))
    assert len((tmp_path / "report.jsonl").read_text().splitlines()) == 6
    reports = [json.loads(line) for line in (work / "report.jsonl").read_text().splitlines()]
    assert {"codec", "speech", "export"} <= {report["stage"] for report in reports}
    assert any("held-out WER" in report for report in reports if report["stage"] == "speech")


def test_kokoro_reads_and_tells_when_each_word_sounds():
    try:
        resolve("kokoro-82m", "tts")
    except ModelError:
        pytest.skip("Kokoro is not on this machine")
    text = "Hello, I would like seven apples."
    high, usual = (
        Reader(threads=1).read(text, Voice("af_heart", pitch), 1.0) for pitch in (1.1, 1.0)
    )
    assert usual.symbols == high.symbols
    assert len(usual.words_ms) == len(text.split())
    assert len(usual.ends_ms) == len(usual.symbols)
    # The pitch changes, the pace does not.
    assert len(high.audio) == pytest.approx(len(usual.audio), rel=0.06)
    ends_s = usual.words_ms[-1][1] / 1e3
    assert 0 < len(usual.audio) / SAMPLE_RATE_HZ - ends_s < 0.3
    listener = Listener("tiny.en")
    last_two = usual.audio[int(usual.words_ms[-2][0] / 1e3 * SAMPLE_RATE_HZ) :]
    assert compare("seven apples", listener.hear(for_judges(last_two))).errors <= 1
    assert compare(text, listener.hear(for_judges(high.audio))).errors == 0
    listener.close()
    assert np.abs(usual.audio).max() <= 1


def test_phonemes_sound_when_kokoro_says_they_do():
    try:
        resolve("kokoro-82m", "tts")
    except ModelError:
        pytest.skip("Kokoro is not on this machine")
    take = Reader(threads=1).read("She sees six ships, she says.", Voice("af_heart"), 1.0)
    starts_ms = (0, *take.ends_ms)
    hiss: dict[str, list[float]] = {"hisses": [], "vowels": []}
    for symbol, start_ms, end_ms in zip(take.symbols, starts_ms, take.ends_ms, strict=False):
        middle = 24 * (start_ms + end_ms) // 2
        sound = take.audio[middle - 240 : middle + 240]
        kind = "hisses" if symbol in "sʃ" else "vowels" if symbol in "iɪɛ" else None
        if kind is not None and len(sound):
            hiss[kind].append(float(np.diff(sound).std() / (sound.std() + 1e-6)))
    assert len(hiss["hisses"]) >= 7
    assert np.mean(hiss["hisses"]) > 3 * np.mean(hiss["vowels"])


def test_what_learns_needs_no_more_than_torch_and_transformers():
    # As on a lent GPU, where nothing can be installed.
    absent = ("agent", "loguru", "onnxruntime", "pipecat", "pydantic", "soundfile", "soxr")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); "
        "import scripts.mini_training.__main__, scripts.mini_training.stages"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
