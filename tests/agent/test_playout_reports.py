"""Marks in the sound say which reply it is; the page's reports of them reach the playout."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pipecat.frames.protobufs.frames_pb2 as protos
import pipecat.processors.frameworks.rtvi.models as rtvi
import pytest
import uvicorn
import websockets
from fastapi import FastAPI, WebSocket
from hypothesis import given, settings
from hypothesis import strategies as st
from pipecat.frames.frames import (
    InterruptionFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.tests.utils import run_test
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner
from pipecat_csm.services.playout import Playout

from agent.playout_reports import ReplyMarks, take_report
from agent.wire import GuardedSerializer

RATE_HZ = 24_000


def sound(reply: str, seconds: float) -> TTSAudioRawFrame:
    return TTSAudioRawFrame(b"\1\0" * int(seconds * RATE_HZ), RATE_HZ, 1, context_id=reply)


def report(data: Any, kind: str = "playout") -> rtvi.ClientMessage:
    return rtvi.ClientMessage(msg_id="1", type=kind, data=data)


@pytest.fixture
def playout() -> Playout:
    playout = Playout()
    playout.sent("a", 10.0)
    return playout


async def test_a_mark_goes_before_each_reply():
    frames = [
        TTSStartedFrame(context_id="a"),
        sound("a", 0.1),
        TTSStoppedFrame(context_id="a"),
        TTSStartedFrame(context_id="b"),
    ]
    down, _ = await run_test(ReplyMarks(), frames_to_send=frames)
    kinds = [type(frame) for frame in down]
    assert kinds[:2] == [OutputTransportMessageFrame, TTSStartedFrame]
    marks = [frame.message for frame in down if isinstance(frame, OutputTransportMessageFrame)]
    assert [mark["data"] for mark in marks] == [
        {"type": "reply", "id": "a"},
        {"type": "reply", "id": "b"},
    ]
    assert {(mark["label"], mark["type"]) for mark in marks} == {("rtvi-ai", "server-message")}


def test_a_report_is_confirmed(playout):
    take_report(report({"reply": "a", "played_ms": 2500}), playout)
    assert playout.heard_s("a") == pytest.approx(2.5, abs=0.2)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "a",
        {},
        {"reply": "a"},
        {"played_ms": 2500},
        {"reply": "b", "played_ms": 2500},
        {"reply": ["a"], "played_ms": 2500},
        {"reply": "a", "played_ms": "2500"},
        {"reply": "a", "played_ms": None},
        {"reply": "a", "played_ms": -1},
        {"reply": "a", "played_ms": math.nan},
        {"reply": "a", "played_ms": math.inf},
        {"reply": "a", "played_ms": 10**400},
    ],
)
def test_anything_else_is_ignored(playout, data):
    take_report(report(data), playout)
    assert playout.heard_s("a") < 1


def test_messages_of_another_type_are_somebody_elses(playout):
    take_report(report({"reply": "a", "played_ms": 2500}, kind="another"), playout)
    assert playout.heard_s("a") < 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(data=JSON | st.fixed_dictionaries({"reply": st.just("a") | JSON, "played_ms": JSON}))
def test_nothing_that_json_can_say_breaks_it(data):
    playout = Playout()
    playout.sent("a", 10.0)
    take_report(report(data), playout)
    assert 0 <= playout.heard_s("a") <= 10.0


@asynccontextmanager
async def call(playout: Playout) -> AsyncIterator[tuple[PipelineWorker, Any]]:
    """One call over a real websocket, in which the test says what the agent says."""
    app, begun = FastAPI(), asyncio.get_running_loop().create_future()

    @app.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        params = FastAPIWebsocketParams(
            serializer=GuardedSerializer(), audio_in_enabled=True, audio_out_enabled=True
        )
        transport = FastAPIWebsocketTransport(websocket, params)
        worker = PipelineWorker(
            Pipeline([transport.input(), ReplyMarks(), transport.output()]),
            params=PipelineParams(audio_out_sample_rate=RATE_HZ),
        )

        @worker.rtvi.event_handler("on_client_message")
        async def take(_, message: rtvi.ClientMessage) -> None:
            take_report(message, playout)

        @transport.event_handler("on_client_disconnected")
        async def end(*_) -> None:
            await worker.cancel()

        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(worker)
        begun.set_result(worker)
        await runner.run()

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn does not announce it)
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as socket:
        yield await begun, socket
    server.should_exit = True
    await serving


async def received(socket: Any, until: str) -> list[str]:
    """What came over the wire: marks by their reply, and hundredths of a second of sound."""
    came: list[str] = []
    while until not in came:
        frame = protos.Frame.FromString(await asyncio.wait_for(socket.recv(), 20))  # type: ignore[attr-defined]
        match frame.WhichOneof("frame"):
            case "audio":
                seconds = len(frame.audio.audio) / 2 / frame.audio.sample_rate
                came.append(f"{100 * seconds:.0f}")
            case "message":
                message = json.loads(frame.message.data)
                if message["type"] == "server-message":
                    came.append(message["data"]["id"])
            case "interruption":
                came.append("cut")
    return came


async def test_over_a_websocket_the_mark_stands_where_the_reply_begins_and_the_report_comes_back():
    playout = Playout()
    async with call(playout) as (worker, socket):
        await worker.queue_frames(
            [
                TTSStartedFrame(context_id="a"),
                sound("a", 0.41),
                TTSStoppedFrame(context_id="a"),
                TTSStartedFrame(context_id="b"),
                sound("b", 0.2),
                TTSStoppedFrame(context_id="b"),
                TTSStartedFrame(context_id="end"),
            ]
        )
        came = await received(socket, "end")
        # The transport sends 40 ms at a time, and fills the last of them up.
        assert came == ["a", *["4"] * 11, "b", *["4"] * 5, "end"]

        playout.sent("a", 0.44)
        playout.sent("b", 0.2)
        message = {"label": "rtvi-ai", "type": "client-message", "id": "1"}
        data = {"t": "playout", "d": {"reply": "b", "played_ms": 200}}
        frame = protos.Frame()  # type: ignore[attr-defined]
        frame.message.data = json.dumps(message | {"data": data})
        await socket.send(frame.SerializeToString())
        for _ in range(200):
            await asyncio.sleep(0.05)
            if not playout.audible:
                break
        assert (playout.heard_s("a"), playout.heard_s("b")) == (0.44, pytest.approx(0.2))


async def test_an_interruption_drops_the_marks_of_what_it_drops():
    async with call(Playout()) as (worker, socket):
        await worker.queue_frames(
            [
                TTSStartedFrame(context_id="a"),
                sound("a", 5.0),
                TTSStoppedFrame(context_id="a"),
                TTSStartedFrame(context_id="b"),
                sound("b", 1.0),
            ]
        )
        assert "a" in await received(socket, "4")
        await worker.queue_frame(InterruptionFrame())
        await received(socket, "cut")
        await worker.queue_frames([TTSStartedFrame(context_id="c"), sound("c", 0.1)])
        came = await received(socket, "c")
        assert "b" not in came
