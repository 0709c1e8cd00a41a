"""The first clause of a reply comes early; everything else comes as whole sentences."""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_text_processor import LLMTextProcessor
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.workers.runner import WorkerRunner
from pipecat_csm.services.first_clause import FirstClauseAggregator


async def pieces(tokens: Iterable[str], **bounds: Any) -> list[str]:
    aggregator = FirstClauseAggregator(**bounds)
    found = [a.text for token in tokens async for a in aggregator.aggregate(token)]
    rest = await aggregator.flush()
    return found + ([rest.text] if rest else [])


def parted(text: str, cuts: Iterable[int]) -> list[str]:
    """The text in tokens that end at the given places."""
    return [text[i:j] for i, j in pairwise([0, *sorted({c % (len(text) + 1) for c in cuts}), None])]


CUTS = st.lists(st.integers(0, 10_000), max_size=20)

# A reply of known clauses and sentences. What is one thing here must not be parted.
PLAIN = ["so", "we", "could", "meet", "again", "tomorrow"]
WHOLE = [
    *("1,000", "3.5", "$12.50", "3:45", "March 3, 2024", "3 March, 2024", "No. 5", "p. 7"),
    *("Dr. Smith", "J. R. R. Tolkien", "e.g. this", "i.e. that", "the U.S. Army", "Jr. himself"),
    *('"Stop. Go, now! Please"', "“Well, yes. I do”", "(see p. 7, or not. Yes)", "[a. B, c]"),
    *("'no. Yes, no'", "5'10\"", "don't", "'twas", "the dogs' bowls", "a.b@c.de", "3.11", "✓"),
]  # fmt: skip
CLAUSE = st.tuples(
    st.lists(st.sampled_from(PLAIN + WHOLE), max_size=3), st.sampled_from(PLAIN)
).map(lambda words: " ".join([*words[0], words[1]]))
SENTENCE = st.tuples(st.lists(CLAUSE, min_size=1, max_size=3), st.sampled_from(".!?…"))


@given(st.lists(SENTENCE, min_size=1, max_size=4), st.integers(1, 4), CUTS)
async def test_a_reply_comes_as_its_first_clause_and_its_sentences(
    sentences: list[tuple[list[str], str]], least_words: int, cuts: list[int]
):
    written = [", ".join(["We", *clauses]) + end for clauses, end in sentences]
    expected = list(written)
    for clauses in range(len(sentences[0][0])):
        first = ", ".join(["We", *sentences[0][0][:clauses]]) + ","
        if sum(word != "✓" for word in first.split()) >= least_words:
            expected[:1] = [first, written[0][len(first) + 1 :]]
            break
    text = " ".join(written)
    bounds = {"least_words": least_words, "most_words": None}
    assert await pieces(parted(text, cuts), **bounds) == expected


NASTY = st.text(
    st.sampled_from("aIbZ ..,,;:!?…\"'‘’“”()[]{}«»\n\n-—–1204$*_😀。！」「é\u0301\u00a0\t")
    | st.characters(),
    max_size=60,
)
ANY = NASTY | st.lists(st.sampled_from([*PLAIN, *WHOLE, ".", "?", ",", "\n\n", "\n- ", " "])).map(
    "".join
)


@given(ANY, CUTS, st.integers(1, 3), st.sampled_from([None, 3]), st.sampled_from([5, 200]))
@example('"a"b. C', [3], 1, None, 200)
@example("It is 5 p.m. It's late.", [14, 15], 1, None, 200)
@example("'til. Now, then. We", [1, 4], 1, None, 5)
async def test_nothing_is_lost_or_moved_and_the_tokens_do_not_matter(
    text: str, cuts: list[int], least: int, most: int | None, quote: int
):
    bounds = {"least_words": least, "most_words": most, "longest_quote": quote}
    whole = await pieces([text], **bounds)
    assert "".join("".join(whole).split()) == "".join(text.split())
    assert await pieces(text, **bounds) == whole
    assert await pieces(parted(text, cuts), **bounds) == whole
    if not set("。！") & set(text):
        assert " ".join(whole).split() == text.split()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Of course, I can. Do you?", ["Of course,", "I can.", "Do you?"]),
        ("Well, of course, I can.", ["Well, of course,", "I can."]),
        ("Yes. Well, of course, I can.", ["Yes.", "Well, of course, I can."]),
        ("So it is… um, late.", ["So it is…", "um, late."]),
        ("On March 3rd, 2024, and later, it fell.", ["On March 3rd, 2024, and later,", "it fell."]),
        ("In May, 2024, he left.", ["In May, 2024, he left."]),
        ("It is 5 p.m. The bar opens.", ["It is 5 p.m.", "The bar opens."]),
        ("You and I. Did you?", ["You and I.", "Did you?"]),
        ("Albert I. Douglas is here.", ["Albert I. Douglas is here."]),
        ("Oh no. Really? No. 5 it is.", ["Oh no.", "Really?", "No. 5 it is."]),
        ("**Note this:** it ends. So", ["**Note this:**", "it ends.", "So"]),
        ("He asked “why?” and left. So?", ["He asked “why?” and left.", "So?"]),
        ("She said “no.” Then she left.", ["She said “no.”", "Then she left."]),
        ("Here are two:\n1. A pear\n2. A fig", ["Here are two:", "1. A pear", "2. A fig"]),
        ("Here they are\n- A pear\n- A fig", ["Here they are", "- A pear", "- A fig"]),
        ("Take one\nof them, please", ["Take one\nof them,", "please"]),
        ("A heading\n\nThe text", ["A heading", "The text"]),
        ("你好。我很好！", ["你好。", "我很好！"]),
        ("... Well then, yes", ["... Well then,", "yes"]),
        (" \n ", []),
    ],
)
async def test_where_a_reply_is_parted(reply: str, expected: list[str]):
    assert await pieces(reply) == expected


async def test_where_no_clause_ends_a_conjunction_does():
    reply = "The engine was far too hot to touch so the driver waited by the road."
    assert await pieces(reply, most_words=8) == [reply[:35], reply[36:]]
    assert await pieces(reply, most_words=None) == [reply]
    assert await pieces("We sold two hundred and fifty of them.", most_words=3) == [
        "We sold two hundred and fifty of them."
    ]


async def test_a_quotation_that_is_never_closed_holds_nothing_up_for_long():
    reply = 'She said "I will go. Then I stay. Now we eat.'
    assert await pieces(reply, longest_quote=30) == [
        'She said "I will go.',
        "Then I stay.",
        "Now we eat.",
    ]


async def test_a_piece_does_not_wait_for_more_than_what_follows_it():
    aggregator = FirstClauseAggregator()
    for token, piece in [
        ("Of course,", []),
        (" ", []),
        ("I", ["Of course,"]),
        (" can. ", []),
        ("B", ["I can."]),
    ]:
        assert [a.text async for a in aggregator.aggregate(token)] == piece


async def test_every_reply_has_a_first_clause_and_forgets_the_last():
    aggregator = FirstClauseAggregator()
    for end in (aggregator.flush, aggregator.handle_interruption, aggregator.reset):
        assert [a.text async for a in aggregator.aggregate("Of course, yes, it")] == ["Of course,"]
        assert aggregator.text.text == "yes, it"
        await end()
        assert not aggregator.text.text


@pytest.mark.parametrize(
    "bounds", [{"least_words": 0}, {"least_words": 5, "most_words": 4}, {"longest_quote": 0}]
)
def test_bounds_that_make_no_sense_are_refused(bounds: dict[str, Any]):
    with pytest.raises(ValueError, match="at least 1"):
        FirstClauseAggregator(**bounds)


class Voice(TTSService):
    """Says every text in one frame, and remembers what it was given."""

    def __init__(self) -> None:
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=settings)
        self.said: list[str] = []
        self.first_audio = asyncio.Event()

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        self.said.append(text)
        await asyncio.sleep(random.random() * 0.002)
        yield TTSAudioRawFrame(b"\0\1" * 480, 24_000, 1, context_id=context_id)
        self.first_audio.set()


def spoken_by(voice: Voice) -> Pipeline:
    return Pipeline([LLMTextProcessor(text_aggregator=FirstClauseAggregator()), voice])


REPLIES = [
    "Of course, Dr. Smith is in. He has 1,000 books, and they cost $3.50 each.",
    "Well, I think so. “Come in, and sit. Now,” he said. Do you know the U.S. Army?",
    "No.",
    "On March 3, 2024, it rained all day long, e.g. in Paris. So we stayed.",
]


def token_frames(reply: str, dice: random.Random) -> list[Frame]:
    frames: list[Frame] = [LLMFullResponseStartFrame()]
    for token in parted(reply, dice.sample(range(len(reply)), len(reply) // 4)):
        if dice.random() < 0.2:
            frames.append(SleepFrame(dice.random() * 0.01))
        frames.append(LLMTextFrame(token))
    return [*frames, LLMFullResponseEndFrame()]


@pytest.mark.parametrize("seed", range(3))
async def test_no_reply_is_lost_or_spoken_twice(seed: int):
    dice, voice = random.Random(seed), Voice()
    frames = [frame for reply in REPLIES for frame in token_frames(reply, dice)]
    await run_test(spoken_by(voice), frames_to_send=frames)
    assert voice.said == [piece for reply in REPLIES for piece in await pieces(reply)]


@pytest.mark.parametrize("seed", range(3))
async def test_an_interruption_forgets_the_rest_of_one_reply_only(seed: int):
    dice, voice = random.Random(seed), Voice()
    frames: list[Frame] = []
    for reply in REPLIES:
        tokens = token_frames(reply, dice)
        stop = dice.randrange(2, len(tokens))
        frames += [*tokens[:stop], SleepFrame(0.02), InterruptionFrame(), SleepFrame(0.02)]
        frames += [*token_frames(reply, dice), SleepFrame(0.05)]
    await run_test(spoken_by(voice), frames_to_send=frames)
    said = voice.said
    for reply in REPLIES:
        expected = await pieces(reply)
        whole = next(i for i in range(len(said)) if said[i : i + len(expected)] == expected)
        assert said[:whole] == expected[:whole]
        said = said[whole + len(expected) :]
    assert not said


async def test_the_first_audio_does_not_wait_for_the_second_clause():
    voice = Voice()
    worker = PipelineWorker(spoken_by(voice), cancel_on_idle_timeout=False)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)

    async def write(frames: Sequence[Frame]) -> None:
        for frame in frames:
            await worker.queue_frame(frame)

    async def model() -> None:
        start = [LLMFullResponseStartFrame(), *map(LLMTextFrame, ["Of course", ", ", "I"])]
        await write(start)
        await voice.first_audio.wait()  # it writes no more until it is heard
        await write([LLMTextFrame(" can help."), LLMFullResponseEndFrame(), EndFrame()])

    await asyncio.gather(runner.run(), model())
    assert voice.said == ["Of course,", "I can help."]
