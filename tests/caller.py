"""A caller without a browser: speaks recordings into the websocket, in real time, and listens.

The bench and the tests share it. Times are seconds of this process's monotonic clock.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pipecat.frames.protobufs.frames_pb2 as protos
import soundfile
import soxr
import websockets

MIC_HZ = 16_000
_CHUNK_S = 0.02
# Louder than this is a sound that somebody hears; Kokoro's and the wire's silence lie far below.
AUDIBLE = 0.01


def load_speech(path: Path, rate: int = MIC_HZ) -> np.ndarray:
    """A recording as float32 [samples] at `rate` Hz, with its trailing silence cut off."""
    audio, source_rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = soxr.resample(audio.mean(axis=1), source_rate, rate)
    voiced = np.flatnonzero(np.abs(audio) > AUDIBLE)
    return audio[: voiced[-1] + 1].astype(np.float32)


@dataclass(frozen=True)
class Heard:
    """One audio message from the agent."""

    at: float
    audio: np.ndarray  # float32 [samples]
    rate: int


@dataclass(frozen=True)
class Message:
    """One RTVI message from the agent."""

    at: float
    type: str
    data: Any


class Caller:
    """Connects, keeps the microphone open (silence between recordings), and records everything."""

    def __init__(self, url: str, *, rate: int = MIC_HZ, channels: int = 1) -> None:
        """`url` is the server's websocket, with its query; the microphone has `rate` Hz."""
        self._url = url
        self._rate = rate
        self._channels = channels
        self._pending: asyncio.Queue[tuple[np.ndarray, asyncio.Future[float]]] = asyncio.Queue(8)
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()
        self.heard: list[Heard] = []
        self.messages: list[Message] = []
        self.interruptions: list[float] = []
        self.closed: tuple[int | None, str] | None = None

    async def __aenter__(self) -> "Caller":
        """Connects and says that the client is ready."""
        self._socket = await websockets.connect(self._url, max_size=2**22)
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._speak())]
        about = {"library": "csm-agent-caller", "library_version": "1"}
        # A server that is busy has hung up by now; `closed` will say why.
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.send("client-ready", {"version": "2.1.0", "about": about})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hangs up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()

    async def send(self, kind: str, data: Any) -> None:
        """Sends one RTVI message."""
        frame = protos.Frame()  # type: ignore[attr-defined]
        message = {"label": "rtvi-ai", "type": kind, "id": str(time.monotonic_ns()), "data": data}
        frame.message.data = json.dumps(message)
        await self._socket.send(frame.SerializeToString())

    async def send_raw(self, data: bytes | str) -> None:
        """Sends any bytes, for tests of what must be refused."""
        await self._socket.send(data)

    async def say(self, audio: np.ndarray) -> float:
        """Speaks float32 [samples] at the microphone's rate; returns when its last sample went."""
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        await self._pending.put((audio, done))
        return await done

    async def wait(self, wanted: Callable[[], Any], within_s: float = 30, what: str = "") -> Any:
        """Waits until `wanted()` is true, and returns it."""

        async def wait_for_news() -> Any:
            async with self._news:
                while not (found := wanted()):
                    if self.closed:
                        raise AssertionError(f"hung up while waiting for {what}: {self.closed}")
                    await self._news.wait()
                return found

        try:
            return await asyncio.wait_for(wait_for_news(), within_s)
        except TimeoutError:
            kinds = [(m.type, m.data) for m in self.messages[-12:]]
            raise AssertionError(f"waited in vain for {what or wanted}; last: {kinds}") from None

    async def message(self, kind: str, *, after: float = 0.0, within_s: float = 30) -> Message:
        """The first message of a type that came after a time."""

        def find() -> Message | None:
            return next((m for m in self.messages if m.type == kind and m.at > after), None)

        return await self.wait(find, within_s, f"{kind} message")

    def audio_since(self, after: float) -> tuple[np.ndarray, int]:
        """All that was heard after a time, and its rate."""
        parts = [h for h in self.heard if h.at > after]
        if not parts:
            return np.zeros(0, np.float32), 24_000
        return np.concatenate([h.audio for h in parts]), parts[0].rate

    async def _listen(self) -> None:
        try:
            async for data in self._socket:
                frame = protos.Frame.FromString(data)  # type: ignore[attr-defined]
                now = time.monotonic()
                match frame.WhichOneof("frame"):
                    case "audio":
                        samples = np.frombuffer(frame.audio.audio, np.int16).astype(np.float32)
                        self.heard.append(Heard(now, samples / 32768, frame.audio.sample_rate))
                    case "message":
                        message = json.loads(frame.message.data)
                        self.messages.append(Message(now, message["type"], message.get("data")))
                    case "interruption":
                        self.interruptions.append(now)
                async with self._news:
                    self._news.notify_all()
        except websockets.ConnectionClosed:
            pass
        self.closed = (self._socket.close_code, self._socket.close_reason or "")
        async with self._news:
            self._news.notify_all()

    async def _speak(self) -> None:
        size = int(self._rate * _CHUNK_S)
        silence = np.zeros(size, np.float32)
        clip, done, at = silence, None, 0
        next_at = time.monotonic()
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                if done is None and not self._pending.empty():
                    (clip, done), at = self._pending.get_nowait(), 0
                chunk = clip[at : at + size] if done is not None else silence
                await self._socket.send(self._frame(chunk))
                if done is not None:
                    at += size
                    if at >= len(clip):
                        done.set_result(time.monotonic())
                        done = None
                next_at += _CHUNK_S
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    def _frame(self, chunk: np.ndarray) -> bytes:
        frame = protos.Frame()  # type: ignore[attr-defined]
        samples = (np.clip(chunk, -1, 1) * 32767).astype(np.int16)
        frame.audio.audio = np.repeat(samples, self._channels).tobytes()
        frame.audio.sample_rate = self._rate
        frame.audio.num_channels = self._channels
        return frame.SerializeToString()


def first_audible_at(heard: list[Heard], after: float) -> float | None:
    """When the first audible sample after a time would play, if played as soon as it came."""
    for part in heard:
        if part.at <= after:
            continue
        loud = np.flatnonzero(np.abs(part.audio) > AUDIBLE)
        if len(loud):
            return part.at + loud[0] / part.rate
    return None


def underruns(heard: list[Heard], *, device_s: float = 0.1) -> int:
    """How often a player that starts `device_s` after the first sound would run dry mid-speech."""
    count, plays_until = 0, None
    for part in heard:
        if plays_until is None:
            plays_until = part.at + device_s
        elif part.at > plays_until:
            # More than this is a pause between answers, not a gap in one.
            count += part.at - plays_until < 1.0
            plays_until = part.at + device_s
        plays_until += len(part.audio) / part.rate
    return count
