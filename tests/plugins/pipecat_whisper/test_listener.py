"""What a listener makes of one segment, without a pipeline around it."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pipecat_whisper import Transcript, WhisperEngine, WhisperEngineError
from pipecat_whisper.decoder import Decoder
from pipecat_whisper.listener import Listener, Options
from pipecat_whisper.segment import Segment

from tests.plugins.pipecat_whisper.speech import MARKET, QUESTION, bare, cough, load, silence

OFTEN = Options(
    language="en",
    prompt=None,
    hotwords=None,
    no_speech_prob=0.6,
    min_avg_logprob=-1.0,
    interim_interval_s=0.01,
)
AT_PAUSES = replace(OFTEN, interim_interval_s=0)


class Decodes:
    """Looks on while the real decoder works: what it was given, when, and how long it took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.samples: list[int] = []
        self.prompts: list[str | None] = []
        self.began: list[float] = []
        self.took_s: list[float] = []
        decode = Decoder.decode

        def look_on(decoder: Decoder, audio: np.ndarray, **options: Any) -> Transcript:
            self.samples.append(len(audio))
            self.prompts.append(options["prompt"])
            self.began.append(time.perf_counter())
            transcript = decode(decoder, audio, **options)
            self.took_s.append(transcript.decode_s)
            return transcript

        monkeypatch.setattr(Decoder, "decode", look_on)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Decodes:
    return Decodes(monkeypatch)


def segment_of(sound: np.ndarray, *, notice_pauses: bool = False) -> Segment:
    segment = Segment(silence(0), user_id="", notice_pauses=notice_pauses)
    hear(segment, sound)
    return segment


def hear(segment: Segment, sound: np.ndarray) -> None:
    for begin in range(0, len(sound), 320):
        segment.append(sound[begin : begin + 320])


async def until_decoded(decodes: Decodes, count: int) -> None:
    async with asyncio.timeout(60):
        while len(decodes.took_s) < count:  # noqa: ASYNC110 - a decoder has no event to offer
            await asyncio.sleep(0.005)


async def test_a_closed_segment_has_no_captions_and_is_decoded_once(
    engine: WhisperEngine, decodes: Decodes
):
    segment = segment_of(load("question"))
    segment.close()
    listener = Listener(engine, segment, lambda: OFTEN)
    assert await listener.caption() is None
    transcript = await listener.final()
    assert transcript is not None
    assert bare(transcript.text) == QUESTION
    assert len(decodes.samples) == 1


async def test_a_caption_is_what_two_decodes_agree_on(engine: WhisperEngine, decodes: Decodes):
    segment = segment_of(load("speech_michael")[:32_000])
    caption = await Listener(engine, segment, lambda: OFTEN).caption()
    assert caption is not None
    words = bare(caption.text).split()
    assert words
    assert words == MARKET.split()[: len(words)]
    assert bare(caption.transcript.text).startswith(" ".join(words))
    assert len(decodes.samples) == 2


async def test_captions_grow_until_the_segment_closes(engine: WhisperEngine):
    sound = load("speech_michael")
    segment = segment_of(silence(0))
    listener = Listener(engine, segment, lambda: OFTEN)
    lengths = []
    for part in (sound[:24_000], sound[24_000:40_000], sound[40_000:]):
        hear(segment, part)
        caption = await listener.caption()
        assert caption is not None
        lengths.append(len(caption.text.split()))
    assert lengths == sorted(set(lengths))
    asyncio.get_running_loop().call_later(0.05, segment.close)
    while await listener.caption() is not None:
        pass
    assert segment.closed


async def test_between_captions_it_rests_twice_as_long_as_a_decode_took(
    engine: WhisperEngine, decodes: Decodes
):
    await Listener(engine, segment_of(load("question")), lambda: OFTEN).caption()
    first, second = decodes.began
    assert second - first >= 3 * decodes.took_s[0]


async def test_a_decode_that_held_all_of_the_speech_is_the_final(
    engine: WhisperEngine, decodes: Decodes
):
    segment = segment_of(np.concatenate([load("question"), silence(0.2)]), notice_pauses=True)
    listener = Listener(engine, segment, lambda: AT_PAUSES)
    no_caption = asyncio.create_task(listener.caption())
    await until_decoded(decodes, 1)
    hear(segment, silence(0.1))
    segment.close(silence_s=0.3)
    assert await no_caption is None
    transcript = await listener.final()
    assert transcript is not None
    assert bare(transcript.text) == QUESTION
    assert len(decodes.samples) == 1


async def test_a_decode_that_more_speech_followed_is_not_the_final(
    engine: WhisperEngine, decodes: Decodes
):
    segment = segment_of(np.concatenate([load("question"), silence(0.2)]), notice_pauses=True)
    listener = Listener(engine, segment, lambda: AT_PAUSES)
    no_caption = asyncio.create_task(listener.caption())
    await until_decoded(decodes, 1)
    hear(segment, load("remark"))
    segment.close()
    assert await no_caption is None
    transcript = await listener.final()
    assert transcript is not None
    assert "bread and apples" in bare(transcript.text)
    assert decodes.samples[-1] == len(segment.audio())


async def test_without_captions_two_pauses_make_none(engine: WhisperEngine, decodes: Decodes):
    pause = silence(0.2)
    segment = segment_of(np.concatenate([load("question"), pause]), notice_pauses=True)
    listener = Listener(engine, segment, lambda: AT_PAUSES)
    no_caption = asyncio.create_task(listener.caption())
    await until_decoded(decodes, 1)
    hear(segment, np.concatenate([load("remark"), pause]))
    await until_decoded(decodes, 2)
    await asyncio.sleep(0.02)
    segment.close()
    assert await no_caption is None


async def test_an_unsound_decode_is_neither_caption_nor_final(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
):
    decode, retries = Decoder.decode, []

    def stumble(decoder: Decoder, audio: np.ndarray, **options: Any) -> Transcript:
        retries.append(options["retry"])
        transcript = decode(decoder, audio, **options)
        return transcript if options["retry"] else replace(transcript, truncated=True)

    monkeypatch.setattr(Decoder, "decode", stumble)
    segment = segment_of(load("question"))
    listener = Listener(engine, segment, lambda: OFTEN)
    no_caption = asyncio.create_task(listener.caption())
    async with asyncio.timeout(60):
        while len(retries) < 3:  # noqa: ASYNC110 - a decoder has no event to offer
            await asyncio.sleep(0.005)
    segment.close()
    assert await no_caption is None
    transcript = await listener.final()
    assert transcript is not None
    assert not transcript.truncated
    # Only finals are retried.
    assert retries.count(True) == 1


async def test_a_caption_that_fails_costs_nothing(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
):
    decode, failures = Decoder.decode, ["out of memory"]

    def fail_once(decoder: Decoder, audio: np.ndarray, **options: Any) -> Transcript:
        if failures:
            raise RuntimeError(failures.pop())
        return decode(decoder, audio, **options)

    monkeypatch.setattr(Decoder, "decode", fail_once)
    caption = await Listener(engine, segment_of(load("question")), lambda: OFTEN).caption()
    assert not failures
    assert caption is not None
    assert bare(caption.text) == QUESTION


async def test_a_final_that_fails_says_so(engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Decoder, "decode", fail)
    segment = segment_of(load("question"))
    segment.close()
    with pytest.raises(WhisperEngineError, match="Speech recognition failed: out of memory"):
        await Listener(engine, segment, lambda: OFTEN).final()


async def test_a_cough_is_nothing(engine: WhisperEngine):
    segment = segment_of(cough())
    segment.close()
    assert await Listener(engine, segment, lambda: OFTEN).final() is None


async def test_options_are_asked_anew_for_each_decode(engine: WhisperEngine, decodes: Decodes):
    options = OFTEN
    segment = segment_of(load("question"))
    listener = Listener(engine, segment, lambda: options)
    assert await listener.caption() is not None
    options = replace(OFTEN, prompt="Bonjour.")
    hear(segment, load("remark"))
    segment.close()
    await listener.final()
    assert decodes.prompts == [None, None, "Bonjour."]
