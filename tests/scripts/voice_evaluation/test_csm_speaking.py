"""CSM speaks in one conversation that holds both speakers, of which nothing is read twice."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pipecat_csm import Generator, Segment, load_csm_1b
from pipecat_csm.engine.runner import SamplingOptions

from scripts.voice_evaluation.csm_speaking import CSMSpeaker
from scripts.voice_evaluation.reference import Reference
from scripts.voice_evaluation.speaking import Reply
from tests.recordings import Sound, noise

REFERENCE = Reference("noise", (Segment("This is me.", 3, audio=torch.from_numpy(noise(0.1))),))
QUESTION = noise(0.2)


@pytest.fixture
def generator(checkpoint: Path) -> Iterator[Generator]:
    with load_csm_1b("cpu", checkpoint=checkpoint, max_sessions=1) as generator:
        yield generator


def talk(checkpoint: Path, question: Sound, reference: Reference = REFERENCE) -> list[Reply]:
    """Two turns with a CSM of one's own."""
    generator = load_csm_1b("cpu", checkpoint=checkpoint, max_sessions=1)
    speaker = CSMSpeaker(generator, reference, SamplingOptions(seed=1))
    replies = []
    for _ in range(2):
        speaker.hear("What is it?", question)
        replies.append(speaker.reply("It is a boat. It is red."))
    speaker.close()
    return replies


def test_what_the_caller_sounds_like_changes_the_answer_and_nothing_else_does(checkpoint: Path):
    first, again = talk(checkpoint, QUESTION), talk(checkpoint, QUESTION)
    other = talk(checkpoint, noise(0.2, level=0.3)[::-1].copy())
    for one, same, different in zip(first, again, other, strict=True):
        assert len(one.audio)
        assert np.array_equal(one.audio, same.audio)
        assert not np.array_equal(one.audio, different.audio)


def test_the_reference_changes_the_answer(checkpoint: Path):
    louder = Segment("This is me.", 3, audio=torch.from_numpy(noise(0.12, level=0.4)))
    one, other = talk(checkpoint, QUESTION), talk(checkpoint, QUESTION, Reference("b", (louder,)))
    assert not np.array_equal(one[0].audio, other[0].audio)


def test_a_turn_reads_only_what_is_new(generator: Generator):
    speaker = CSMSpeaker(generator, REFERENCE, SamplingOptions())
    speaker.hear("What is it?", QUESTION)
    question_rows = generator.engine.prefilled_rows
    speaker.reply("A boat.")
    before = generator.engine.prefilled_rows
    speaker.hear("What is it?", QUESTION)
    assert generator.engine.prefilled_rows - before < question_rows, "the reference stays"
    speaker.close()


def test_a_reply_that_finds_no_end_has_run_away(generator: Generator):
    # The tiny model's end is as likely as any other code, so that it is found only by chance.
    speaker = CSMSpeaker(generator, REFERENCE, SamplingOptions(temperature=0.0))
    reply = speaker.reply("Yes.")
    speaker.close()
    assert reply.runaway is not None
    assert reply.seconds > 0


def test_a_long_sentence_that_is_cut_off_at_the_limit_has_run_away_too(generator: Generator):
    speaker = CSMSpeaker(generator, REFERENCE, SamplingOptions(seed=1))
    reply = speaker.reply("It is a boat that somebody has painted red, and then green, " * 3)
    speaker.close()
    assert reply.runaway == "no end found"
