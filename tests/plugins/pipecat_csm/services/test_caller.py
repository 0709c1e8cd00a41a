"""What the caller said is a Segment before he is answered, whatever the timing."""

import asyncio
import random

import numpy as np
import pytest
from pipecat_csm.history import SegmentHistory
from pipecat_csm.services.caller import Caller

RATE_HZ = 24_000
PIECE = 480  # 20 ms, as transports send it


def noise(pieces: int, level: float = 0.1, seed: int = 0) -> bytes:
    samples = np.random.default_rng(seed).normal(0, level, pieces * PIECE)
    return (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()


async def hear(caller: Caller, pieces: int, level: float = 0.1, *, echo: bool = False) -> None:
    sound = noise(pieces, level)
    for begin in range(0, len(sound), 2 * PIECE):
        await caller.hear(sound[begin : begin + 2 * PIECE], RATE_HZ, echo=echo)


async def say(caller: Caller, pieces: int) -> None:
    """One stretch of voice, as the detector marks it."""
    caller.voice_began()
    await hear(caller, pieces)
    caller.voice_ended()


@pytest.fixture
async def caller(engine):
    caller = Caller(engine, SegmentHistory())
    yield caller
    await caller.close()


@pytest.fixture
def history(caller) -> SegmentHistory:
    return caller._history


async def test_a_turn_is_one_segment_of_his_words_and_his_sound(caller, history):
    await hear(caller, 50, level=0.001)
    caller.turn_began()
    await say(caller, 100)
    await hear(caller, 20, level=0.001)
    await caller.turn_said("Good morning.")
    (segment,) = history.segments
    assert (segment.text, segment.speaker) == ("Good morning.", 1)
    # Two seconds, half a second before them, a fifth after.
    assert segment.duration_s == pytest.approx(2.0 + 0.5 + 0.2, abs=0.08)


@pytest.mark.parametrize(("quiet", "before_s"), [(0, 0.2), (5, 0.2), (20, 0.4), (100, 0.5)])
async def test_the_agents_echo_does_not_enter(caller, history, quiet, before_s):
    await hear(caller, 50, echo=True)
    await hear(caller, quiet)
    caller.turn_began()
    caller.voice_began(noticed_after_s=0.2)
    await hear(caller, 50, echo=True)
    caller.voice_ended()
    await caller.turn_said("Wait.")
    assert history.segments[0].duration_s == pytest.approx(1.0 + before_s, abs=0.08)


async def test_the_agents_echo_in_a_pause_does_not_enter(caller, history):
    caller.turn_began()
    await say(caller, 50)
    await hear(caller, 100, echo=True)
    await say(caller, 50)
    await caller.turn_said("Go on, please.")
    assert history.segments[0].duration_s == pytest.approx(2.0, abs=0.08)


async def test_a_pause_within_a_turn_stays_a_pause_and_no_more(caller, history):
    caller.turn_began()
    await say(caller, 50)
    await hear(caller, 200, level=0.001)  # four seconds
    await say(caller, 50)
    await caller.turn_said("Well, yes.")
    assert history.segments[0].duration_s == pytest.approx(2.0 + 0.8, abs=0.08)


async def test_turns_follow_each_other(caller, history):
    for text in ("One.", "Two."):
        caller.turn_began()
        await say(caller, 40)
        await caller.turn_said(text)
    assert [s.text for s in history.segments] == ["One.", "Two."]
    assert history.segments[1].duration_s == pytest.approx(0.8, abs=0.08)


async def test_a_cough_is_no_segment(caller, history):
    caller.turn_began()
    await say(caller, 10)
    caller.turn_was_empty()
    assert await caller.settled(0.1)
    await hear(caller, 510, level=0.001)  # long enough that no words will come for it
    await say(caller, 50)
    caller.turn_began()
    await caller.turn_said("Sorry.")
    assert [s.text for s in history.segments] == ["Sorry."]
    assert history.segments[0].duration_s == pytest.approx(0.5 + 1.0, abs=0.08)


async def test_words_that_come_late_are_of_the_sound_they_were_made_of(caller, history):
    """Recognition may take longer than a turn is held open for it."""
    caller.turn_began()
    await say(caller, 50)
    await hear(caller, 20, level=0.001)
    caller.turn_was_empty()
    await hear(caller, 200, level=0.001)
    caller.turn_began()
    await caller.turn_said("Better late.")
    caller.turn_began()
    await say(caller, 30)
    await caller.turn_said("Than never.")
    assert [s.text for s in history.segments] == ["Better late.", "Than never."]
    late, next_one = history.segments
    assert late.duration_s == pytest.approx(1.0 + 0.2, abs=0.08)
    assert next_one.duration_s == pytest.approx(0.6, abs=0.08)


@pytest.mark.parametrize("began_first", [True, False])
async def test_who_goes_on_before_his_late_words_come_is_heard_with_both(
    caller, history, began_first
):
    caller.turn_began()
    await say(caller, 50)
    caller.turn_was_empty()
    await hear(caller, 100, level=0.001)
    for begin in (caller.turn_began, caller.voice_began)[:: 1 if began_first else -1]:
        begin()
    await hear(caller, 50)
    caller.voice_ended()
    await caller.turn_said("Are you there? Hello?")
    assert [s.text for s in history.segments] == ["Are you there? Hello?"]
    assert history.segments[0].duration_s == pytest.approx(1.0 + 0.8 + 1.0, abs=0.08)


async def test_who_answers_waits_for_the_turn_that_began_while_the_last_was_encoded(
    caller, history, monkeypatch
):
    caller.turn_began()
    await say(caller, 50)
    encoded = asyncio.Event()
    run = caller._run

    async def slow(work):
        await encoded.wait()
        return await run(work)

    monkeypatch.setattr(caller, "_run", slow)
    saying = asyncio.create_task(caller.turn_said("One."))
    await asyncio.sleep(0)
    caller.turn_began()
    encoded.set()
    await saying
    assert [s.text for s in history.segments] == ["One."]
    assert not await caller.settled(0.05)


async def test_typed_words_are_no_segment(caller, history):
    await caller.turn_said("Typed.")
    assert history.segments == ()
    assert await caller.settled(0.1)


async def test_who_answers_waits_for_the_words_but_not_for_ever(caller):
    assert await caller.settled(0.01), "nobody has spoken"
    caller.turn_began()
    assert not await caller.settled(0.05)


async def test_phone_sound_is_brought_to_the_models_rate(caller, history):
    sound = noise(100)
    caller.turn_began()
    caller.voice_began()
    for begin in range(0, len(sound), 320):
        await caller.hear(sound[begin : begin + 320], 8_000)
    caller.voice_ended()
    await caller.turn_said("Over a phone.")
    # 48,000 samples, at a third of the rate.
    assert history.segments[0].duration_s == pytest.approx(6.0, abs=0.25)


async def test_a_quiet_caller_is_brought_to_the_usual_loudness_from_his_second_turn_on(
    engine, caller, monkeypatch
):
    gains: list[float] = []
    listen = engine.listen

    def noted(gain: float = 1.0):
        gains.append(gain)
        return listen(gain)

    monkeypatch.setattr(engine, "listen", noted)
    for _ in range(2):
        caller.turn_began()
        caller.voice_began()
        await hear(caller, 50, level=0.01)
        caller.voice_ended()
        await caller.turn_said("Can you hear me?")
    assert gains[0] == 1.0
    # -40 dBFS, which needs 17 dB.
    assert gains[1] == pytest.approx(7.1, rel=0.05)


async def test_a_caller_whose_engine_is_gone_can_still_talk(engine, caller, history, monkeypatch):
    def gone(**_: object):
        from pipecat_csm.errors import EngineClosedError

        raise EngineClosedError("The engine has stopped.")

    monkeypatch.setattr(engine, "listen", gone)
    caller.turn_began()
    await say(caller, 20)
    await caller.turn_said("Anybody there?")
    assert history.segments == ()
    assert await caller.settled(0.1)


async def test_his_segment_is_there_before_he_is_answered_in_1000_timings(caller, history):
    chance = random.Random(11)

    async def soon() -> None:
        await asyncio.sleep(chance.choice([0, 0, chance.uniform(0, 0.003)]))

    pieces = 0
    for number in range(1000):
        words: list[str] = []
        caller.turn_began()
        for part in range(chance.randint(1, 3)):
            length = chance.randint(1, 8)
            await say(caller, length)
            pieces += length
            pause = chance.randint(0, 3)
            await hear(caller, pause)
            pieces += pause
            words.append(f"part {part} of turn {number}.")
        text = " ".join(words)
        is_empty = chance.random() < 0.2

        async def end(text: str = text, is_empty: bool = is_empty) -> None:
            await soon()
            if is_empty:
                caller.turn_was_empty()
            else:
                await caller.turn_said(text)

        async def answer() -> tuple[str, ...]:
            await soon()
            assert await caller.settled(5.0)
            return tuple(segment.text for segment in history.segments)

        before = tuple(segment.text for segment in history.segments)
        _, known = await asyncio.gather(end(), answer())
        if is_empty:
            assert known == before
        else:
            assert known[-1] == text
            length_s = pieces * PIECE / RATE_HZ
            # Sound before the voice and after it belongs to it too.
            assert -0.09 < history.segments[-1].duration_s - length_s < 0.6
            # That of a turn without words is the next one's: its words may only be late.
            pieces = 0
        if number % 50 == 49:
            history.clear()
