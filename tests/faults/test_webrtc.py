"""A bad WebRTC caller ends his own call at most. Real server, real peer connections."""

import asyncio
import json
import urllib.request
from types import TracebackType
from typing import Any

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

from tests.caller import Caller
from tests.live_server import LiveServer
from tests.talk import greeted

READY = {
    "label": "rtvi-ai",
    "type": "client-ready",
    "id": "1",
    "data": {"version": "2.1.0", "about": {"library": "csm-agent-test"}},
}


class Peer:
    """Calls over WebRTC with a silent microphone, and keeps what the data channel brings."""

    def __init__(self, url: str) -> None:
        """`url` is the server's."""
        self._url = url
        self._offer_path = ""
        self._pc_id: str | None = None
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> "Peer":
        """Connects and waits for the data channel."""
        start = await self._post("/api/start", {"transport": "webrtc"})
        self._offer_path = start["url"]
        await self._connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hangs up."""
        await self._pc.close()

    async def restart(self) -> None:
        """Calls again on the same line, as Pipecat's client does when its network changed."""
        old = self._pc
        await self._connect()
        await old.close()

    def send(self, data: str | bytes | dict[str, Any]) -> None:
        """Sends a message; one that is a dict as JSON."""
        self._channel.send(json.dumps(data) if isinstance(data, dict) else data)

    async def message(self, kind: str) -> None:
        """Waits for a message of a type; those before it are forgotten."""
        async with asyncio.timeout(20):
            while (await self._messages.get())["type"] != kind:
                pass

    async def end(self) -> None:
        """Waits until the server hangs up."""
        await asyncio.wait_for(self.hung_up.wait(), 20)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )

        def answer() -> dict[str, Any]:
            with urllib.request.urlopen(request, timeout=20) as response:
                return json.load(response)

        return await asyncio.to_thread(answer)

    async def _connect(self) -> None:
        self._pc = RTCPeerConnection()
        self._pc.addTrack(AudioStreamTrack())
        self._channel = self._pc.createDataChannel("chat")
        opened = asyncio.Event()
        self._channel.on("open", opened.set)
        self._channel.on("message", lambda data: self._messages.put_nowait(json.loads(data)))
        # Set when the server has closed the connection.
        hung_up = self.hung_up = asyncio.Event()
        self._channel.on("close", hung_up.set)

        @self._pc.on("track")
        async def drain(track) -> None:
            try:
                while True:
                    await track.recv()
            except MediaStreamError:
                pass

        await self._pc.setLocalDescription(await self._pc.createOffer())
        local = self._pc.localDescription
        body: dict[str, Any] = {"sdp": local.sdp, "type": local.type}
        if self._pc_id is not None:
            body |= {"pc_id": self._pc_id, "restart_pc": True}
        answer = await self._post(self._offer_path, body)
        self._pc_id = answer["pc_id"]
        await self._pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await asyncio.wait_for(opened.wait(), 20)


async def test_a_foreign_message_is_ignored_and_the_call_goes_on(server: LiveServer, llm):
    async with Peer(server.url) as peer:
        peer.send({**READY, "type": "raw-audio", "data": {"base64Audio": "AAAA"}})
        peer.send("text")
        peer.send("ping: 1")
        peer.send(READY)
        await peer.message("bot-ready")
        await peer.message("bot-stopped-speaking")
        assert not peer.hung_up.is_set()


@pytest.mark.parametrize("garbage", ["text", b"\xff" * 1000, {**READY, "type": "raw-audio"}])
async def test_endless_garbage_ends_that_call_only(server: LiveServer, llm, garbage):
    async with Caller(server.ws_url) as good, Peer(server.url) as bad:
        await greeted(good)
        bad.send(READY)
        await bad.message("bot-ready")
        for _ in range(60):
            bad.send(garbage)
        await bad.end()
        assert good.closed is None


async def test_garbage_before_the_agent_is_ready_ends_the_call_as_well(server: LiveServer, llm):
    async with Peer(server.url) as bad:
        for _ in range(60):
            bad.send("text")
        await bad.end()


async def test_a_restarted_connection_is_guarded_as_well(server: LiveServer, llm):
    async with Peer(server.url) as peer:
        peer.send(READY)
        await peer.message("bot-ready")
        for _ in range(2):
            await peer.restart()
            for _ in range(20):
                peer.send("text")
        assert not peer.hung_up.is_set()
        await peer.restart()
        for _ in range(20):
            peer.send("text")
        await peer.end()
