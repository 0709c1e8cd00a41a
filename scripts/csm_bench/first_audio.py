"""From a text to the first 80 ms of sound, as a caller of the engine has it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.session import Session
from pipecat_csm.model.config import CSMConfig
from pipecat_csm.segment import Segment

from scripts.csm_bench.report import Row
from scripts.csm_bench.shapes import words
from scripts.csm_bench.subject import TEXT_ROWS, Subject, silence

# What a text has besides its words: a begin and an end.
_AROUND_TEXT = 2
_SEGMENT = 500


def measure(subject: Subject) -> Iterator[Row]:
    """With the context resident, so that the text alone is read; and with all of it read anew."""
    repeats, config = subject.settings.repeats, subject.shape.config
    with _engine(subject) as engine:
        for context in subject.settings.contexts:
            history = conversation(config, context)
            with engine.open_session() as session:
                session.sync(history)
                resident = [_first_frame_ms(session, i, history) for i in range(repeats)]
            anew = []
            for i in range(max(1, repeats // 3)):
                with engine.open_session() as session:
                    anew.append(_first_frame_ms(session, i, history))
            figures = {
                "positions": context,
                "resident_ms": median(resident),
                "anew_ms": median(anew),
            }
            yield Row("first audio", subject.variant, figures)


def conversation(config: CSMConfig, positions: int) -> list[Segment]:
    """Segments that take so many positions together."""
    segments = []
    while positions > 0:
        size = min(_SEGMENT, positions)
        # What would be too little for another one is in this one.
        size = positions if positions - size < TEXT_ROWS + 2 else size
        positions -= size
        codes = torch.randint(config.codec.codebook_size, (size - TEXT_ROWS - 1, config.codebooks))
        segments.append(Segment(text(len(segments)), 1, codes=codes))
    return segments


def text(first: int) -> str:
    """So many words that they take 20 rows; another first one, another text."""
    return " ".join(f"x{(first + i) % 100}" for i in range(TEXT_ROWS - _AROUND_TEXT))


@contextmanager
def _engine(subject: Subject) -> Iterator[Engine]:
    silence(subject.runner)
    with Engine(subject.runner, words(), spares=1) as engine:
        yield engine


def _first_frame_ms(session: Session, number: int, history: Sequence[Segment]) -> float:
    began = time.perf_counter()
    speech = session.speak(text(number), 0, context=history, watch=False)
    speech.take()
    ms = (time.perf_counter() - began) * 1e3
    speech.cancel()
    speech.wait()
    return ms
