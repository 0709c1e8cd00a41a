"""What each stage of the command line does."""

import argparse
import json
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from pipecat_csm.model.checkpoint.shipped import located
from transformers.utils import logging as transformers_logging

from scripts.mini_training.arguments import ADOPT, STAGES
from scripts.mini_training.codec import codes
from scripts.mini_training.codec import stage as codec_stage
from scripts.mini_training.data.corpus import Corpus
from scripts.mini_training.data.splits import SPLITS
from scripts.mini_training.errors import TrainingError
from scripts.mini_training.export import TEMPERATURE, TOP_K, adopt, export
from scripts.mini_training.learning import Plan
from scripts.mini_training.progress import Progress
from scripts.mini_training.run import agree
from scripts.mini_training.settings import SIZES
from scripts.mini_training.speech import stage as speech_stage

_MOST_BYTES = 40_000_000


class Stages:
    """The stages, with one command line."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Prepares; nothing is loaded yet.

        Raises:
            TrainingError: There is no such device.
        """
        self._args = args
        self._device = _device(args.device)
        self._work: Path = args.work
        self._size = SIZES[args.size]
        if args.threads is not None:
            torch.set_num_threads(args.threads)
        torch.set_float32_matmul_precision("high")
        transformers_logging.disable_progress_bar()

    def run(self, stage: str) -> None:
        """One of them, or all.

        Raises:
            TrainingError: What it needs is not there.
            ModelError: Kokoro or Whisper is not.
        """
        for name in STAGES if stage == "all" else (stage,):
            minutes = self._args.minutes or (0.0 if name == ADOPT else STAGES[name][0])
            with Progress(name, minutes, self._work / "report.jsonl") as progress:
                getattr(self, f"_{name}")(minutes, progress)

    def _data(self, minutes: float, progress: Progress) -> None:
        hours = self._speak(minutes, progress)
        corpus = self._corpus("train")
        progress.report(hours_made=hours, hours=corpus.hours, utterances=len(corpus.utterances))

    def _speak(self, minutes: float, progress: Progress) -> float:
        from scripts.mini_training.data import stage as data_stage
        from scripts.mini_training.data.speaking import Reader

        args = self._args
        source = data_stage.sentences(args.vocabulary, args.text)
        text = None if args.text is None else str(args.text.resolve())
        agree(self._work, vocabulary=args.vocabulary, text=text, seed=args.seed)
        # Sentences are short: one a core is an eighth faster than one on all of them.
        reader = Reader(threads=1)
        return data_stage.make(
            self._work / "data",
            source,
            reader,
            minutes=minutes,
            seed=args.seed,
            progress=progress,
            at_once=args.threads or torch.get_num_threads(),
            shard_lines=10 if args.size == "smoke" else data_stage.SHARD_LINES,
            held_out_shards=self._held_out_shards,
        )

    def _codec(self, minutes: float, progress: Progress) -> None:
        train, held_out = self._corpus("train"), self._corpus("heldout")
        agree(self._work, size=self._args.size)
        listen = None
        if self._args.listen:
            from scripts.mini_training.hearing import codec_listener

            listen = codec_listener(held_out, self._args.listen)
        codec_stage.train(
            self._work,
            self._size.codec,
            train,
            held_out,
            self._plan(minutes),
            self._device,
            progress,
            listen,
        )

    def _encode(self, minutes: float, progress: Progress) -> None:
        codec = codes.read_codec(self._work).to(self._device)
        renderings: int = self._args.shifts
        agree(self._work, shifts=renderings)
        learned = tuple(islice(cycle(codes.PACES), renderings))
        for split, paces in zip(SPLITS[:2], (learned, (1.0,) * renderings), strict=True):
            codes.make(
                self._work / "codes",
                self._corpus(split),
                codec,
                paces=paces,
                seed=self._args.seed,
                progress=progress,
            )

    def _speech(self, minutes: float, progress: Progress) -> None:
        work = self._work
        codec = codes.read_codec(work)
        train, held_out = (codes.read(work / "data", work / "codes", s) for s in SPLITS[:2])
        agree(work, size=self._args.size)
        listen = None
        if self._args.listen:
            from scripts.mini_training.hearing import speech_listener

            listen = speech_listener(
                work / "data", self._args.listen, self._size.speech, codec, work / "listened"
            )
        speech_stage.train(
            work,
            self._size.speech,
            codec.config,
            train,
            held_out,
            self._plan(minutes),
            self._device,
            progress,
            listen,
        )

    def _export(self, minutes: float, progress: Progress) -> None:
        if (self._work / "speech.pt").exists():
            agree(self._work, size=self._args.size)
        size = export(self._work, self._size.speech, self._checkpoint)
        progress.report(checkpoint=str(self._checkpoint), megabytes=size / 1e6)
        if size > _MOST_BYTES:
            progress.report(note="above 40 MB: too large to be kept in the repository")

    def _adopt(self, minutes: float, progress: Progress) -> None:
        adopt(self._checkpoint, self._size, self._work)
        agree(self._work, size=self._args.size)
        progress.report(adopted=str(self._checkpoint))

    def _evaluate(self, minutes: float, progress: Progress) -> None:
        from scripts.mini_training.data import stage as data_stage
        from scripts.mini_training.evaluation import evaluate, table, ways
        from scripts.mini_training.voice import Voicebox
        from scripts.voice_evaluation.judges import Judges
        from scripts.voice_evaluation.likeness import Ear
        from scripts.voice_evaluation.quality import Critic
        from scripts.voice_evaluation.words import Listener

        args = self._args
        if not (self._checkpoint / "config.json").exists():
            raise TrainingError(
                f"There is no checkpoint in {self._checkpoint}; run the export stage first, or "
                "give --checkpoint."
            )
        if data_stage.held_out(self._work / "data", self._held_out_shards):
            self._speak(0.0, progress)
        rows = ways(self._corpus("heldout"), self._corpus("voices"))
        there = min(len(row.corpus.utterances) for row in rows)
        if args.after + args.sentences > there:
            raise TrainingError(f"{there} sentences were held out; give fewer --sentences.")
        ear, critic = Ear(), Critic()
        judges = {
            Path(name).name: Judges(ear, Listener(name), critic)
            for name in args.whisper or ["tiny.en"]
        }
        try:
            with Voicebox(self._checkpoint, TEMPERATURE, TOP_K, args.seed) as voicebox:
                progress.report(loading_s=voicebox.loading_s)
                codec = read_codec_of(self._checkpoint)
                chosen = slice(args.after, args.after + args.sentences)
                found = evaluate(rows, voicebox, codec, judges, chosen, args.keep)
        finally:
            for each in judges.values():
                each.close()
        for row in found:
            progress.report(**row)
        print(json.dumps(found, indent=1) if args.json else table(found))

    def _corpus(self, split: Any) -> Corpus:
        return Corpus(self._work / "data", split)

    def _plan(self, minutes: float) -> Plan:
        args = self._args
        return Plan(minutes, rate=args.rate or 0.0, seed=args.seed, check_s=60 * args.check_minutes)

    @property
    def _held_out_shards(self) -> int:
        return 1 if self._args.size == "smoke" else 3

    @property
    def _checkpoint(self) -> Path:
        given: Path | None = self._args.checkpoint
        return self._work / "checkpoint" if given is None else Path(located(str(given)))


def read_codec_of(checkpoint: Path) -> Any:
    """The codec of a checkpoint, transformers', in float32."""
    from transformers import CsmForConditionalGeneration

    model: Any = CsmForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    return model.codec_model.eval()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise TrainingError(f"--device {name} is none: cpu or cuda.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("There is no GPU here that torch can use; leave --device away.")
    return device
