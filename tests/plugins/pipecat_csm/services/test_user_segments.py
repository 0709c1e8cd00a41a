"""What a caller says is his voice from its beginning, and nothing of the agent's echo before it."""

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextUserTurnFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.listening import Listening
from pipecat_csm.services import taps
from pipecat_csm.services.conversation import CSMConversation
from pipecat_csm.services.taps import UserSegmentTap

RATE_HZ = 24_000
# What the microphone hears of whom, so that it can be told apart.
ECHO, VOICE, ROOM = 0.3, -0.3, 0.01
NOTICED_S = 0.2


class Ear:
    """Keeps what the engine is given to listen to."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self.heard: list[NDArray[np.float32]] = []

    def feed(self, samples: NDArray[np.float32]) -> None:
        self.heard.append(samples)
        self._listening.feed(samples)

    def finish(self):
        return self._listening.finish()

    def cancel(self) -> None:
        self._listening.cancel()

    def seconds(self, level: float) -> float:
        """How much of what it heard has a level."""
        sound = np.concatenate(self.heard)
        return float(np.count_nonzero(np.abs(sound - level) < 0.005) / RATE_HZ)


def microphone(level: float, seconds: float) -> list[Frame]:
    """Pieces of 20 ms."""
    piece = np.full(RATE_HZ // 50, level * 32768).astype("<i2").tobytes()
    return [InputAudioRawFrame(piece, RATE_HZ, 1) for _ in range(round(seconds * 50))]


def speaks(text: str) -> list[Frame]:
    """The caller, from his first sound to the end of his turn."""
    return [
        *microphone(VOICE, NOTICED_S),
        VADUserStartedSpeakingFrame(start_secs=NOTICED_S),
        UserStartedSpeakingFrame(),
        InterruptionFrame(),
        BotStoppedSpeakingFrame(),
        *microphone(VOICE, 1.0),
        VADUserStoppedSpeakingFrame(),
        *microphone(ROOM, 0.4),
        UserStoppedSpeakingFrame(),
        SleepFrame(),
        LLMContextUserTurnFrame(text=text, timestamp="now"),
    ]


async def heard(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    conversation: CSMConversation,
    frames: Sequence[Frame],
) -> Ear:
    """What was listened to for the one Segment that came of it."""
    ears: list[Ear] = []
    listen = engine.listen

    def kept(gain: float = 1.0) -> Ear:
        ears.append(Ear(listen(gain)))
        return ears[-1]

    monkeypatch.setattr(engine, "listen", kept)
    await run_test(UserSegmentTap(conversation), frames_to_send=frames)
    await conversation.close()
    assert [segment.text for segment in conversation.history.segments] == ["Wait."]
    [ear] = ears
    return ear


@pytest.fixture
def conversation(engine) -> CSMConversation:
    return CSMConversation(engine)


async def test_he_speaks_while_the_agent_does(engine, monkeypatch, conversation):
    frames = [BotStartedSpeakingFrame(), *microphone(ECHO, 2.0), *speaks("Wait.")]
    ear = await heard(engine, monkeypatch, conversation, frames)
    assert ear.seconds(VOICE) == pytest.approx(NOTICED_S + 1.0, abs=0.01)
    assert ear.seconds(ECHO) == 0


async def test_he_speaks_while_the_agent_is_heard_though_all_was_sent(
    engine, monkeypatch, conversation
):
    """A websocket's client gets sound faster than it plays."""
    conversation.playout.sent("reply", 60.0)
    frames = [
        BotStartedSpeakingFrame(),
        *microphone(ECHO, 0.2),
        BotStoppedSpeakingFrame(),
        *microphone(ECHO, 1.0),
        *speaks("Wait."),
    ]
    ear = await heard(engine, monkeypatch, conversation, frames)
    assert ear.seconds(VOICE) == pytest.approx(NOTICED_S + 1.0, abs=0.01)
    assert ear.seconds(ECHO) == 0


async def test_he_speaks_as_soon_as_the_agent_has_ended(engine, monkeypatch, conversation):
    frames = [
        BotStartedSpeakingFrame(),
        *microphone(ECHO, 2.0),
        BotStoppedSpeakingFrame(),
        *microphone(ROOM, 0.1),
        *speaks("Wait."),
    ]
    ear = await heard(engine, monkeypatch, conversation, frames)
    assert ear.seconds(VOICE) == pytest.approx(NOTICED_S + 1.0, abs=0.01)
    assert ear.seconds(ECHO) == 0


async def test_he_speaks_into_silence(engine, monkeypatch, conversation):
    frames = [*microphone(ROOM, 2.0), *speaks("Wait.")]
    ear = await heard(engine, monkeypatch, conversation, frames)
    assert ear.seconds(VOICE) == pytest.approx(NOTICED_S + 1.0, abs=0.01)
    # Half a second before he was noticed, and a fifth after he had ended.
    assert ear.seconds(ROOM) == pytest.approx(0.5 - NOTICED_S + 0.2, abs=0.03)


async def test_who_interrupts_while_he_is_encoded_loses_nothing_that_he_said(
    engine, monkeypatch, conversation
):
    begun, finish = asyncio.Event(), Listening.finish

    def slowly(listening: Listening):
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.3)
        return finish(listening)

    async def interrupts(tap: UserSegmentTap) -> None:
        await begun.wait()
        await tap.queue_frame(InterruptionFrame())

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Listening, "finish", slowly)
    tap = UserSegmentTap(conversation)
    interrupting = asyncio.create_task(interrupts(tap))
    await run_test(tap, frames_to_send=[*speaks("Wait."), SleepFrame(1.0)])
    await interrupting
    assert [segment.text for segment in conversation.history.segments] == ["Wait."]
    await conversation.close()


async def test_an_answer_does_not_wait_for_ever_for_a_device_that_hangs(
    engine, monkeypatch, conversation
):
    goes_on, finish = threading.Event(), Listening.finish

    def hangs(listening: Listening):
        goes_on.wait(60)
        return finish(listening)

    monkeypatch.setattr(Listening, "finish", hangs)
    monkeypatch.setattr(taps, "_ENCODED_WITHIN_S", 0.1)
    down, _ = await run_test(UserSegmentTap(conversation), frames_to_send=speaks("Wait."))
    assert any(isinstance(frame, LLMContextUserTurnFrame) for frame in down)
    assert not conversation.history.segments
    goes_on.set()
    await conversation.close()
