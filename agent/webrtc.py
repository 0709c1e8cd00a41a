"""A WebRTC caller: his data channel and his sound, under the websocket's rules, and his call."""

import asyncio
import json
import time
from collections.abc import Callable

from aiortc import RTCDataChannel, RTCPeerConnection
from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import (
    SIGNALLING_TYPE,
    SmallWebRTCConnection,
    TrackStatusMessage,
)
from pipecat.transports.smallwebrtc.transport import (
    SmallWebRTCClient,
    SmallWebRTCInputTransport,
    SmallWebRTCTransport,
)
from pydantic import ValidationError

from agent.calls import Calls
from agent.client_rules import AudioPace, ClientMessages, TooMuchGarbage
from agent.lines import Line
from agent.wire import MAX_MESSAGE_BYTES

# Pipecat's client offers a microphone, a camera, a screen and a data channel.
_MAX_MEDIA = 4
# A peer that has not connected by then never will; its line is for others.
_CONNECT_S = 20.0
# Pipecat's client says "ping: <time>" every second, outside of RTVI.
_KEEP_ALIVE = "ping"
_MAX_EARLY_MESSAGES = 20


def flaw_of(sdp: str) -> str | None:
    """Why an offer cannot be a voice call, as a sentence; None if it can be one."""
    if "m=audio" not in sdp:
        return "The WebRTC offer has no audio in it."
    # Nothing reads the tracks beyond Pipecat's three, and aiortc would keep what they bring.
    if sum(line.startswith("m=") for line in sdp.splitlines()) > _MAX_MEDIA:
        return "The WebRTC offer has more media in it than a voice call needs."
    return None


class WebRTCPeer:
    """Stands before Pipecat's handler of a peer's data channels, and lets pass what may."""

    def __init__(
        self, connection: SmallWebRTCConnection, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`watch` must follow before the peer can have connected."""
        self.connection = connection
        # Every id that this peer has been known by; a restart brings a new one.
        self.ids: set[str] = set()
        # Set when the caller has sent so much garbage that he is to be hung up on.
        self.exhausted = asyncio.Event()
        self._messages = ClientMessages(clock)
        self._early_messages = 0
        self._watched: RTCPeerConnection | None = None

    def watch(self) -> None:
        """Guards the data channels to come; again after every offer, as it may be a restart."""
        self.ids.add(self.connection.pc_id)
        if self.connection.pc is self._watched:
            return
        self._watched = self.connection.pc
        channels = 0

        @self._watched.on("datachannel")
        def stand_before(channel: RTCDataChannel) -> None:
            nonlocal channels
            channels += 1
            if channels > 1:
                self._refuse("a second data channel")
            handlers = channel.listeners("message")
            channel.remove_all_listeners("message")

            @channel.on("message")
            async def check(data: str | bytes) -> None:
                if self._admits(data):
                    for handle in handlers:
                        await handle(data)

    def _admits(self, data: str | bytes) -> bool:
        if self.exhausted.is_set():
            return False
        size = len(data.encode() if isinstance(data, str) else data)
        if size <= MAX_MESSAGE_BYTES and self._is_wanted(data):
            return True
        self._refuse(f"a data channel message of {size} bytes that is not one of a client's")
        return False

    def _is_wanted(self, data: str | bytes) -> bool:
        if isinstance(data, str) and data.startswith(_KEEP_ALIVE):
            return self._messages.in_pace()
        try:
            message = json.loads(data)
        # JSON that is nested too deep for Python is a RecursionError.
        except (ValueError, RecursionError):
            return False
        if isinstance(message, dict) and message.get("type") == SIGNALLING_TYPE:
            return _is_track_status(message.get("message")) and self._messages.in_pace()
        return self._messages.admit(message) and self._is_heard()

    def _is_heard(self) -> bool:
        # Pipecat keeps what comes before the pipeline stands, or without pings, and has no bound.
        if not self.connection.is_connected():
            self._early_messages += 1
        return self.connection.is_connected() or self._early_messages <= _MAX_EARLY_MESSAGES

    def _refuse(self, what: str) -> None:
        try:
            self._messages.refuse(what)
        except TooMuchGarbage as error:
            if not self.exhausted.is_set():
                logger.warning(f"Hanging up on a WebRTC caller. {error}")
            self.exhausted.set()


def _is_track_status(message: object) -> bool:
    try:
        TrackStatusMessage.model_validate(message)
    except ValidationError:
        return False
    return True


class _PacedInput(SmallWebRTCInputTransport):
    """Drops sound that arrives faster than real time: a jitter buffer passes it on at once."""

    def __init__(
        self, client: SmallWebRTCClient, params: TransportParams, name: str | None
    ) -> None:
        """As Pipecat's, with a clock that starts at the first sound."""
        super().__init__(client, params, name=name)
        self._pace = AudioPace()

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        """Takes a frame that is in time, else drops it with those that wait behind it."""
        if self._pace.admit(frame):
            await super().push_audio_frame(frame)
        # The decoded frames wait in aiortc's queue, which has no bound either.
        elif track := self._client._audio_input_track:
            await track.discard_old_frames()


class PacedTransport(SmallWebRTCTransport):
    """Pipecat's transport with a bound on the caller's sound."""

    def input(self) -> SmallWebRTCInputTransport:
        """The input, with its bound."""
        if not self._input:
            self._input = _PacedInput(self._client, self._params, self._input_name)
        return self._input


async def run_call(calls: Calls, line: Line, peer: WebRTCPeer) -> None:
    """Runs a peer's conversation on a taken line, to its end."""
    connection = peer.connection
    params = TransportParams(
        audio_in_enabled=True, audio_out_enabled=True, audio_out_end_silence_secs=0
    )
    transport = PacedTransport(connection, params)
    connected = asyncio.Event()

    @transport.event_handler("on_client_connected")
    async def note(transport, client) -> None:
        connected.set()

    async def hang_up() -> None:
        try:
            # A session hears of no hang-up before it has heard of the caller.
            await asyncio.wait_for(connected.wait(), _CONNECT_S)
        except TimeoutError:
            logger.warning("A WebRTC caller did not connect in time.")
        else:
            await peer.exhausted.wait()
        # aiortc waits for ever for a close that was cancelled half-way.
        await asyncio.shield(connection.disconnect())

    watch = asyncio.create_task(hang_up())
    try:
        await calls.run(line, transport, "webrtc")
    finally:
        watch.cancel()
        await connection.disconnect()
