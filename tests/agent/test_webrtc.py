"""A WebRTC caller's data channel and sound, under the websocket's rules."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiortc.mediastreams import AudioStreamTrack
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection, SmallWebRTCTrack
from pyee.asyncio import AsyncIOEventEmitter

from agent.webrtc import PacedTransport, WebRTCPeer, flaw_of
from agent.wire import MAX_MESSAGE_BYTES

READY = json.dumps({"label": "rtvi-ai", "type": "client-ready", "data": {}})
MUTE = {"type": "trackStatus", "receiver_index": 0, "enabled": False}


class Wire:
    """A peer whose data channels are at hand; `passed` is what reached Pipecat's handler."""

    def __init__(self) -> None:
        self.now = 0.0
        self.connected = True
        self.passed: list[str | bytes] = []
        self.pc = AsyncIOEventEmitter()
        self.pc_id = "1"
        self.peer = WebRTCPeer(cast(Any, self), clock=lambda: self.now)
        self.peer.watch()

    def is_connected(self) -> bool:
        return self.connected

    def open(self) -> AsyncIOEventEmitter:
        channel = AsyncIOEventEmitter()

        @channel.on("message")
        async def pipecat(data: str | bytes) -> None:
            self.passed.append(data)

        self.pc.emit("datachannel", channel)
        return channel

    async def send(self, channel: AsyncIOEventEmitter, *messages: str | bytes) -> int:
        """How many of the messages passed."""
        before = len(self.passed)
        for data in messages:
            channel.emit("message", data)
        await asyncio.sleep(0.01)
        return len(self.passed) - before


@pytest.mark.parametrize(
    "message",
    [
        READY,
        READY.encode(),
        "ping: 1700000000000",
        json.dumps({"type": "signalling", "message": MUTE}),
        json.dumps({"type": "send-text", "data": {"content": "x" * 200_000}}),
    ],
)
async def test_what_a_client_says_passes(message):
    wire = Wire()
    assert await wire.send(wire.open(), message) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        "text",
        "",
        b"\xff\xfe garbage",
        b"",
        "[1]",
        "[" * 100_000,
        json.dumps({"type": "raw-audio", "data": {"base64Audio": ""}}),
        json.dumps({"type": ["client-ready"]}),
        json.dumps({"type": "signalling"}),
        json.dumps({"type": "signalling", "message": {"type": "renegotiate"}}),
        json.dumps({"type": "signalling", "message": "x" * 1000}),
        json.dumps({"type": "send-text", "data": {"content": "x" * MAX_MESSAGE_BYTES}}),
        "ping" + "é" * (MAX_MESSAGE_BYTES // 2),
    ],
)
async def test_garbage_is_dropped_and_then_hung_up_on(garbage):
    wire = Wire()
    channel = wire.open()
    assert await wire.send(channel, *[garbage] * 50, READY) == 1
    assert not wire.peer.exhausted.is_set()
    assert await wire.send(channel, garbage, READY) == 0
    assert wire.peer.exhausted.is_set()


@pytest.mark.parametrize(
    "message", [READY, "ping", json.dumps({"type": "signalling", "message": MUTE})]
)
async def test_messages_have_a_pace(message):
    wire = Wire()
    channel = wire.open()
    assert await wire.send(channel, *[message] * 40) == 20
    wire.now = 1.5
    assert await wire.send(channel, message) == 1


async def test_other_channels_and_restarts_are_no_way_around():
    wire = Wire()
    channels = [wire.open() for _ in range(26)]
    for channel in channels[:25]:
        assert await wire.send(channel, "garbage") == 0
    wire.pc, wire.pc_id = AsyncIOEventEmitter(), "2"
    wire.peer.watch()
    wire.peer.watch()
    assert wire.peer.ids == {"1", "2"}
    channel = wire.open()
    assert await wire.send(channel, READY) == 1
    assert await wire.send(channel, "garbage") == 0
    assert wire.peer.exhausted.is_set()


async def test_pipecat_keeps_no_more_than_a_few_messages_for_later():
    wire = Wire()
    wire.connected = False
    channel = wire.open()
    assert await wire.send(channel, *[READY] * 15) == 15
    wire.now = 2.0
    assert await wire.send(channel, *[READY] * 15) == 5
    wire.connected, wire.now = True, 4.0
    assert await wire.send(channel, READY) == 1


async def test_sound_faster_than_real_time_is_dropped_with_what_waits_behind_it(monkeypatch):
    transport = PacedTransport(SmallWebRTCConnection(), TransportParams(audio_in_enabled=True))
    microphone = transport.input()
    queued = microphone._audio_in_queue = asyncio.Queue()
    discarded = []

    async def discard_old_frames(track: SmallWebRTCTrack) -> None:
        discarded.append(track)

    monkeypatch.setattr(SmallWebRTCTrack, "discard_old_frames", discard_old_frames)
    track = SmallWebRTCTrack(SimpleNamespace(track=AudioStreamTrack()))
    transport._client._audio_input_track = track
    for _ in range(60):
        second = InputAudioRawFrame(audio=bytes(32_000), sample_rate=16_000, num_channels=1)
        await microphone.push_audio_frame(second)
    assert queued.qsize() in (10, 11)
    assert len(discarded) == 60 - queued.qsize()


def test_an_offer_has_the_media_of_a_voice_call():
    media = ["m=audio 9", "m=video 9", "m=video 9", "m=application 9"]
    assert flaw_of("v=0\r\n" + "\r\n".join(media)) is None
    assert "no audio" in (flaw_of("v=0\r\nm=video 9") or "")
    assert "more media" in (flaw_of("v=0\r\n" + "\r\n".join([*media, "m=audio 9"])) or "")
