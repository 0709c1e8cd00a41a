"""The browser's messages: frames pass, garbage does not, and a flood is bounded."""

import json

import pipecat.frames.protobufs.frames_pb2 as protos
import pytest
from pipecat.frames.frames import InputAudioRawFrame, InputTransportMessageFrame

from agent.client_rules import TooMuchGarbage
from agent.wire import GuardedSerializer


def audio_message(seconds=0.02, rate=16_000, channels=1):
    frame = protos.Frame()  # type: ignore[attr-defined]
    frame.audio.audio = b"\1\0" * int(rate * seconds)
    frame.audio.sample_rate = rate
    frame.audio.num_channels = channels
    return frame.SerializeToString()


def json_message(data):
    frame = protos.Frame()  # type: ignore[attr-defined]
    frame.message.data = data
    return frame.SerializeToString()


def spoken_text():
    frame = protos.Frame()  # type: ignore[attr-defined]
    frame.text.text = "say this"
    return frame.SerializeToString()


async def test_audio_and_messages_pass():
    serializer = GuardedSerializer()
    frame = await serializer.deserialize(audio_message())
    assert isinstance(frame, InputAudioRawFrame)
    assert frame.sample_rate == 16_000
    frame = await serializer.deserialize(json_message(json.dumps({"type": "client-ready"})))
    assert isinstance(frame, InputTransportMessageFrame)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xfe garbage",
        b"",
        "text",
        json_message("{not json"),
        spoken_text(),
        audio_message(channels=0),
        audio_message(seconds=0),
        audio_message(seconds=1e-6, rate=2_000_000_000),
        json_message(json.dumps({"type": "raw-audio", "data": {"base64Audio": ""}})),
        json_message("[1]"),
        json_message("[" * 100_000),
        json_message(json.dumps({"type": ["client-ready"]})),
    ],
)
async def test_garbage_is_dropped_and_the_session_lives(garbage):
    serializer = GuardedSerializer()
    assert await serializer.deserialize(garbage) is None
    assert await serializer.deserialize(audio_message()) is not None


async def test_endless_garbage_ends_the_conversation():
    serializer = GuardedSerializer()
    for _ in range(50):
        assert await serializer.deserialize(b"\xff") is None
    with pytest.raises(TooMuchGarbage):
        await serializer.deserialize(b"\xff")


async def test_audio_faster_than_real_time_is_dropped_until_the_clock_catches_up():
    now = 0.0
    serializer = GuardedSerializer(clock=lambda: now)
    passed = [await serializer.deserialize(audio_message(1.0)) for _ in range(60)]
    assert 10 <= sum(frame is not None for frame in passed) <= 12
    now = 5.0
    assert await serializer.deserialize(audio_message(1.0)) is not None


async def test_reports_of_the_playing_have_a_pace_of_their_own_and_are_no_garbage():
    now = 0.0
    serializer = GuardedSerializer(clock=lambda: now)
    data = {"t": "playout", "d": {"reply": "a", "played_ms": 200}}
    report = json_message(json.dumps({"type": "client-message", "data": data}))
    # A network that stood still brings a minute's worth at once.
    passed = [await serializer.deserialize(report) for _ in range(300)]
    assert sum(frame is not None for frame in passed) == 10
    typed = json_message(json.dumps({"type": "send-text", "data": {"content": "Hello."}}))
    assert await serializer.deserialize(typed) is not None
    now = 1.5
    assert await serializer.deserialize(report) is not None


async def test_messages_have_a_pace():
    now = 0.0
    serializer = GuardedSerializer(clock=lambda: now)
    hello = json_message(json.dumps({"type": "client-message"}))
    passed = [await serializer.deserialize(hello) for _ in range(40)]
    assert sum(frame is not None for frame in passed) == 20
    now = 1.5
    assert await serializer.deserialize(hello) is not None
