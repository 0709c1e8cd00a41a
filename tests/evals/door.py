"""The real server with one more door, through which Pipecat's evals come in.

It stands beside the product's doors and leads into the same calls, so that the session and the
pipeline that are evaluated are the product's own. The product has none: an eval may change the
conversation behind the agent's back.
"""

import json
from typing import Any

from fastapi import WebSocket
from pipecat.evals.fastapi_transport import EvalFastAPIWebsocketTransport
from pipecat.evals.serializer import EvalSerializer, parse_eval_connect
from pipecat.evals.transport import EvalTransportParams
from starlette.routing import WebSocketRoute

from tests.inside import InsideServer

_PATH = "/eval"


class EvaluatedServer(InsideServer):
    """Serves, and takes evals as Ada."""

    def __init__(self, **overrides: Any) -> None:
        """`overrides` are settings by dotted name, as in `**{"llm.provider": "openai"}`."""
        super().__init__(**overrides)
        # Before the page, which takes every path that is left.
        self._app.router.routes.insert(0, WebSocketRoute(_PATH, self._evaluate))

    @property
    def eval_url(self) -> str:
        """What `pipecat eval run --bot-url` wants."""
        return self.url.replace("http", "ws", 1) + _PATH

    async def _evaluate(self, websocket: WebSocket) -> None:
        await websocket.accept()
        flags = parse_eval_connect(json.loads(await websocket.receive_text()))
        assert flags is not None, "the harness says first what it wants"
        line = self.calls.take(self.calls.reserve("ada").token)
        assert line is not None
        params = EvalTransportParams(
            serializer=EvalSerializer(), audio_in_enabled=True, audio_out_enabled=True
        )
        await self.calls.run(line, EvalFastAPIWebsocketTransport(websocket, params, flags), "eval")
