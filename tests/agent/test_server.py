"""The server's doors: what it answers before any conversation begins."""

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from agent.calls import Calls
from agent.metrics import Metrics
from agent.persona import load_personas
from agent.server import MAX_BODY_BYTES, create_app
from agent.services import Services
from agent.settings import Settings


@pytest.fixture
def settings():
    return Settings.model_validate({"server": {"max_sessions": 1}})


@pytest.fixture
def calls(settings):
    personas = load_personas()
    calls = Calls(settings, personas, Services(settings, personas), Metrics())
    calls.ready = True
    return calls


@pytest.fixture
def client(settings, calls):
    # `Calls` counts in the metrics that it was given; the app shows the same ones.
    with TestClient(
        create_app(settings, calls, calls._metrics), base_url="http://localhost"
    ) as client:
        yield client


def closing_of(client: TestClient, url: str, **headers: str) -> WebSocketDisconnect:
    """How the server closes a websocket that it takes no call on."""
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect(url, headers={"host": "localhost", **headers}) as websocket,
    ):
        websocket.receive_bytes()
    return closed.value


def test_the_page_and_its_bundle(client):
    assert "text/html" in client.get("/").headers["content-type"]
    assert client.get("/app.js").status_code == 200
    assert client.get("/nothing").status_code == 404


def test_personas_show_what_a_caller_may_see(client):
    body = client.get("/api/personas").json()
    assert body["default"] == "ada"
    ada = next(p for p in body["personas"] if p["name"] == "ada")
    assert set(ada) == {"name", "display_name", "description", "language", "greeting"}


def test_config(client):
    body = client.get("/api/config").json()
    assert body["transports"] == ["websocket", "webrtc"]
    assert body["max_sessions"] == 1


def test_a_call_is_reserved_before_it_connects(client):
    body = client.post("/api/start", json={"persona": "max", "transport": "webrtc"}).json()
    assert body["url"] == f"/api/offer?session={body['session']}"


def test_one_caller_too_many_is_told_at_once(client):
    assert client.post("/api/start", json={}).status_code == 200
    refused = client.post("/api/start", json={})
    assert refused.status_code == 503
    assert refused.json()["error"].startswith("All lines are busy.")
    closed = closing_of(client, "/ws")
    assert closed.code == 1013
    assert closed.reason.startswith("All lines are busy.")
    assert 'csm_agent_rejected_total{reason="busy"} 2.0' in client.get("/metrics").text


def test_no_call_while_the_models_load(client, calls):
    calls.ready = False
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json()["status"] == "loading"
    assert client.get("/readyz").status_code == 503
    assert "still loading" in client.post("/api/start", json={}).json()["error"]
    calls.ready = True
    assert client.get("/readyz").json() == {"status": "ready", "live_sessions": 0}


def test_no_call_while_the_server_stops(client, calls):
    calls.draining = True
    assert client.get("/readyz").json()["status"] == "stopping"
    assert "shutting down" in client.post("/api/start", json={}).json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"persona": "nobody"}, 404, "no persona 'nobody'"),
        ({"transport": "pigeon"}, 422, "no transport 'pigeon'"),
        ({"persona": 3}, 422, "persona"),
        ({"unknown": 1}, 422, "unknown"),
    ],
)
def test_a_wrong_start_is_refused_in_words(client, body, status, words):
    refused = client.post("/api/start", json=body)
    assert refused.status_code == status
    assert words in refused.json()["error"]


def test_a_reservation_cannot_be_forged(client):
    closed = closing_of(client, "/ws?session=forged")
    assert (closed.code, closed.reason[:15]) == (1008, "The reservation")
    offer = {"sdp": "m=audio", "type": "offer"}
    assert client.post("/api/offer?session=forged", json=offer).status_code == 409


@pytest.mark.parametrize("sdp", ["junk", "m=audio junk"])
def test_a_broken_offer_is_refused_and_takes_no_line(client, calls, sdp):
    token = client.post("/api/start", json={"transport": "webrtc"}).json()["session"]
    refused = client.post(f"/api/offer?session={token}", json={"sdp": sdp, "type": "offer"})
    assert refused.status_code == 400
    assert "offer" in refused.json()["error"]
    assert calls.live == 0


def test_other_sites_are_refused(client):
    foreign = {"origin": "https://evil.example"}
    assert client.post("/api/start", json={}, headers=foreign).status_code == 403
    assert closing_of(client, "/ws", **foreign).code == 1008


def test_a_body_is_bounded_by_its_length_and_as_it_comes(client):
    large = b"x" * (MAX_BODY_BYTES + 1)
    assert client.post("/api/start", content=large).status_code == 413
    assert client.post("/api/start", content=iter([large[:50_000], large])).status_code == 413
    assert client.post("/api/start", json={}).status_code == 200
