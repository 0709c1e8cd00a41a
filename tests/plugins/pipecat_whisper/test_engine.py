"""One model for all: in order, bounded, and never on the event loop."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pipecat_whisper import EngineBusyError, Transcript, WhisperEngine, WhisperEngineError
from pipecat_whisper.decoder import Decoder

from tests.plugins.pipecat_whisper.speech import QUESTION, bare, load, silence


class GatedDecoder:
    """Stands in for `Decoder.decode`: every decode waits for the gate, and notes what it heard."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.heard: list[int] = []
        self.threads: set[int] = set()

    def decode(self, audio: np.ndarray, **_: object) -> Transcript:
        self.threads.add(threading.get_ident())
        self.heard.append(len(audio))
        self.began.release()
        assert self.gate.wait(60)
        seconds = len(audio) / 16_000
        return Transcript("words", "en", 0.0, -0.1, 1.0, False, seconds, seconds, 10.0, 0.0)


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> Iterator[GatedDecoder]:
    gated = GatedDecoder()
    monkeypatch.setattr(Decoder, "decode", lambda _, audio, **options: gated.decode(audio))
    yield gated
    gated.gate.set()


def final(engine: WhisperEngine, samples: int) -> asyncio.Task[Transcript]:
    return asyncio.create_task(engine.transcribe(np.zeros(samples, np.float32)))


async def began(gated: GatedDecoder) -> None:
    assert await asyncio.to_thread(gated.began.acquire, timeout=60)


async def test_it_hears(engine: WhisperEngine):
    engine.warm_up()
    transcript = await engine.transcribe(load("question"))
    assert bare(transcript.text) == QUESTION
    assert transcript.duration_s == pytest.approx(2.56, abs=0.1)
    assert transcript.decode_s > 0


async def test_it_finds_the_words_it_hears(engine: WhisperEngine):
    question = load("question")
    twice = np.concatenate([question, silence(1.0), question])
    words = await engine.words(twice)
    assert bare(" ".join(word for word, _ in words)) == f"{QUESTION} {QUESTION}"
    starts = np.array([start_s for _, start_s in words])
    assert np.all(np.diff(starts) >= 0)
    second = len(question) / 16_000 + 1.0
    assert starts[10:] - second == pytest.approx(starts[:10], abs=0.2)
    assert await engine.words(silence(1.0)) == ()


async def test_it_looks_for_words_in_one_window_only(engine: WhisperEngine):
    with pytest.raises(WhisperEngineError, match="up to 30 s"):
        await engine.words(silence(30.1))


async def test_the_event_loop_runs_while_a_decode_does(engine: WhisperEngine, gated: GatedDecoder):
    running = final(engine, 1)
    await began(gated)
    assert not running.done()
    gated.gate.set()
    await running
    assert threading.get_ident() not in gated.threads


async def test_finals_are_served_in_order_of_arrival(engine: WhisperEngine, gated: GatedDecoder):
    tasks = [final(engine, samples) for samples in (3, 1, 2)]
    await began(gated)
    gated.gate.set()
    await asyncio.gather(*tasks)
    assert gated.heard == [3, 1, 2]


async def test_an_interim_does_not_wait(engine: WhisperEngine, gated: GatedDecoder):
    running = final(engine, 1)
    await began(gated)
    with pytest.raises(EngineBusyError):
        await engine.transcribe(np.zeros(9, np.float32), priority="interim")
    gated.gate.set()
    await running
    await engine.transcribe(np.zeros(2, np.float32), priority="interim")
    assert gated.heard == [1, 2]


async def test_too_many_finals_are_refused_and_the_others_served(
    engine: WhisperEngine, gated: GatedDecoder
):
    tasks = [final(engine, samples) for samples in (1, 2, 3)]
    await began(gated)
    with pytest.raises(EngineBusyError, match="overloaded: 3 decodes are under way"):
        await engine.transcribe(np.zeros(4, np.float32))
    gated.gate.set()
    await asyncio.gather(*tasks)
    assert gated.heard == [1, 2, 3]


async def test_a_caller_who_gives_up_leaves_the_queue(engine: WhisperEngine, gated: GatedDecoder):
    tasks = [final(engine, samples) for samples in (1, 2, 3)]
    await began(gated)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    tasks.append(final(engine, 4))
    await asyncio.sleep(0)
    gated.gate.set()
    await asyncio.gather(tasks[0], *tasks[2:])
    assert gated.heard == [1, 3, 4]


async def test_a_failing_decode_is_one_sentence_and_the_next_one_works(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("out of memory")

        patch.setattr(Decoder, "decode", fail)
        with pytest.raises(WhisperEngineError, match="Speech recognition failed: out of memory"):
            await engine.transcribe(np.zeros(1, np.float32))
    assert bare((await engine.transcribe(load("question"))).text) == QUESTION


async def test_closing_fails_what_waits_and_what_comes(model: Path, gated: GatedDecoder):
    engine = WhisperEngine(model)
    running, waiting = final(engine, 1), final(engine, 2)
    await began(gated)
    engine.close()
    engine.close()
    gated.gate.set()
    assert (await running).text == "words"
    with pytest.raises(WhisperEngineError, match="closed"):
        await waiting
    with pytest.raises(WhisperEngineError, match="closed"):
        await engine.transcribe(np.zeros(1, np.float32))


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(WhisperEngineError, match=r"There is no folder .*nowhere"):
        WhisperEngine(tmp_path / "nowhere")


def test_a_folder_without_a_model_is_named_with_what_it_lacks(tmp_path: Path):
    with pytest.raises(WhisperEngineError, match=r"lacks model\.bin and tokenizer\.json"):
        WhisperEngine(tmp_path)


@pytest.mark.parametrize("broken", ["model.bin", "tokenizer.json"])
def test_a_broken_file_is_one_sentence(model: Path, tmp_path: Path, broken: str):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    with (folder / broken).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(WhisperEngineError, match=f"The model in .*{folder.name} does not load"):
        WhisperEngine(folder)
