"""How each reply was made is told to observers, once per reply."""

import time
from typing import Any

import pytest
from pipecat.frames.frames import Frame, MetricsFrame, TTSSpeakFrame
from pipecat.metrics.metrics import MetricsData, TTFBMetricsData
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.observers.loggers.metrics_log_observer import MetricsLogObserver
from pipecat.observers.service_metrics_observer import ServiceMetricsObserver
from pipecat.observers.user_bot_latency_observer import UserBotLatencyObserver
from pipecat.pipeline.worker import PipelineParams
from pipecat_csm.services.metrics import CSMReplyMetricsData, ReplyMeter
from pipecat_csm.services.playout import Playout

from tests.plugins.pipecat_csm.services.stage import SPEED, Stage

REPLY = "tonight"
FRAME_S = 0.08


class Clock:
    """Tells the time that a test says it is."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def playout(clock: Clock) -> Playout:
    return Playout(buffer_s=0.0, clock=clock)


@pytest.fixture
def meter(playout: Playout, clock: Clock) -> ReplyMeter:
    return ReplyMeter(playout, REPLY, clock)


def known(meter: ReplyMeter) -> CSMReplyMetricsData:
    return meter.data("csm")


def speak(meter: ReplyMeter, playout: Playout, clock: Clock, *gaps_s: float) -> None:
    """Frames, each so long after the one before, that are sent at once."""
    meter.asked()
    meter.began(17)
    for gap_s in gaps_s:
        clock.now += gap_s
        meter.made(FRAME_S, goes_on=True)
        playout.sent(REPLY, FRAME_S)


def test_rtf_is_how_long_a_frame_took_beside_how_long_it_sounds(meter, playout, clock):
    speak(meter, playout, clock, 3.0, 0.04, 0.06, 0.02)  # the first one is the TTFB's
    assert known(meter).rtf == pytest.approx(0.5)
    assert known(meter).audio_seconds == pytest.approx(4 * FRAME_S)
    assert known(meter).context_positions == 17


def test_a_pause_in_which_enough_was_made_ahead_is_no_time_of_making(meter, playout, clock):
    speak(meter, playout, clock, 0.5, 0.04)
    meter.made(FRAME_S, goes_on=False)
    clock.now += 5.0
    meter.made(FRAME_S, goes_on=True)
    clock.now += 0.08
    meter.made(FRAME_S, goes_on=True)
    assert known(meter).rtf == pytest.approx((0.04 + 0.0 + 0.08) / (3 * FRAME_S))


def test_of_a_reply_of_one_frame_nobody_knows_the_rtf(meter, playout, clock):
    speak(meter, playout, clock, 0.5)
    assert known(meter).rtf is None


def test_sound_that_comes_after_all_before_it_was_heard_is_an_underrun(meter, playout, clock):
    speak(meter, playout, clock, 1.0, 0.05, 0.05, 0.5, 0.05, 0.05, 0.3)
    data = known(meter)
    # Three frames in 0.1 s leave 0.14 s to hear when 0.5 s begin; and then again.
    assert data.underruns == 2
    assert data.underrun_seconds == pytest.approx((0.5 - 0.14) + (0.3 - 0.14))


def test_a_reply_in_time_has_no_underruns(meter, playout, clock):
    speak(meter, playout, clock, 2.0, *[0.08] * 40)
    assert (known(meter).underruns, known(meter).underrun_seconds) == (0, 0.0)


def test_a_language_model_that_is_slow_makes_no_underruns(meter, playout, clock):
    speak(meter, playout, clock, 0.1, 0.05)
    clock.now += 10.0
    speak(meter, playout, clock, 1.0, 0.05)
    assert known(meter).underruns == 0


def test_a_sentence_that_was_asked_for_in_time_and_comes_late_is_an_underrun(meter, playout, clock):
    speak(meter, playout, clock, 0.1, 0.05)
    speak(meter, playout, clock, 1.0, 0.05)
    assert known(meter).underruns == 1
    assert known(meter).underrun_seconds == pytest.approx(1.0 - 0.11)


def test_what_comes_after_a_gap_is_late_by_the_gap(meter, playout, clock):
    speak(meter, playout, clock, 0.5, FRAME_S, FRAME_S)
    assert meter.late_s == pytest.approx(0.0)
    speak(meter, playout, clock, FRAME_S + 0.7, FRAME_S)  # the language model took its time
    assert meter.late_s == pytest.approx(0.7)


def test_a_slow_transport_makes_no_underruns(meter, playout, clock):
    meter.asked()
    for _ in range(4):
        meter.made(FRAME_S, goes_on=True)
    playout.sent(REPLY, FRAME_S)
    clock.now += 2.0
    meter.made(FRAME_S, goes_on=True)
    assert known(meter).underruns == 0


class Replies(BaseObserver):
    """Keeps the metrics of a kind that the service itself pushes, once each."""

    def __init__(self, kind: type[MetricsData]) -> None:
        super().__init__()
        self.kind = kind
        self.found: list[Any] = []
        self._seen: set[int] = set()

    async def on_push_frame(self, data: FramePushed) -> None:
        frame: Frame = data.frame
        if not isinstance(frame, MetricsFrame) or frame.id in self._seen:
            return
        self._seen.add(frame.id)
        self.found += [
            found
            for found in frame.data
            if isinstance(found, self.kind) and getattr(found, "value", 1.0) and "CSM" in str(found)
        ]


async def test_every_reply_is_reported_once_beside_pipecats_own_observers(engine, voices):
    replies, ttfbs = Replies(CSMReplyMetricsData), Replies(TTFBMetricsData)
    others = [MetricsLogObserver(), ServiceMetricsObserver(), UserBotLatencyObserver()]
    async with Stage(engine, voices, observers=[replies, ttfbs, *others]) as stage:
        for turn in (1, 2):
            await stage.answer("Hello there. How are you?")
            heard = await stage.heard(2 * turn)
    assert not stage.errors
    assert len(ttfbs.found) == 2
    first, second = replies.found
    assert first.context_id != second.context_id
    assert first.audio_seconds == pytest.approx(sum(s.duration_s for s in heard[:2]))
    assert first.rtf > 0.0
    assert first.processor == stage.tts.name
    assert first.model == "csm-1b"
    # The last sentence was conditioned on all before it, of which each frame is a position.
    frames = sum(round(s.duration_s / FRAME_S) for s in heard[:3])
    assert second.context_positions > frames
    assert second.context_positions > first.context_positions > 20  # the reference's
    assert not first.interrupted


async def test_a_device_that_is_too_slow_shows_in_rtf_and_underruns(engine, voices, monkeypatch):
    step = engine._runner.step

    def slow_step():
        time.sleep(2 * FRAME_S / SPEED)
        return step()

    monkeypatch.setattr(engine._runner, "step", slow_step)
    replies = Replies(CSMReplyMetricsData)
    async with Stage(engine, voices, observers=[replies]) as stage:
        await stage.answer("Here I am.")
        (heard,) = await stage.heard(1)
        await stage.until(lambda: replies.found)
    (slow,) = replies.found
    assert slow.rtf * SPEED > 2.0
    assert slow.underruns > 10
    assert slow.underrun_seconds > 0.5 * heard.duration_s


async def test_a_reply_that_is_cut_off_while_it_is_made_is_reported_as_such(engine, voices):
    replies = Replies(CSMReplyMetricsData)
    async with Stage(engine, voices, observers=[replies]) as stage:
        await stage.answer("This is a rather long sentence, which nobody is going to hear. " * 9)
        await stage.speaker.plays(1.0)
        await stage.barge_in()
        await stage.at_rest()
    (cut,) = replies.found
    assert cut.interrupted
    assert cut.audio_seconds >= 1.0


async def test_a_reply_without_a_word_has_no_metrics(engine, voices):
    replies, ttfbs = Replies(CSMReplyMetricsData), Replies(TTFBMetricsData)
    async with Stage(engine, voices, observers=[replies, ttfbs]) as stage:
        await stage.queue([TTSSpeakFrame("👍 ...")])
        await stage.speaker.plays(0.1)
    assert replies.found == ttfbs.found == []


async def test_nothing_is_reported_where_metrics_are_not_enabled(engine, voices):
    replies = Replies(CSMReplyMetricsData)
    params = PipelineParams(audio_out_sample_rate=24_000)
    async with Stage(engine, voices, observers=[replies], params=params) as stage:
        await stage.answer("Hello there.")
        await stage.heard(1)
    assert replies.found == []
