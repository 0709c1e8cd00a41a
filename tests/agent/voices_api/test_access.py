"""Who may make personas over HTTP, and how much of it the server bears."""

import http.client
import json
import queue
import threading

import pytest
from fastapi.testclient import TestClient

from agent.server import create_app
from agent.voices import studio
from tests.agent.voices_api.conftest import (
    calls_of,
    client_of,
    examine,
    refusal,
)
from tests.live_server import LiveServer


class TestWhoMay:
    @pytest.mark.parametrize(
        ("server", "status"),
        [
            ({}, 200),
            ({"host": "::1"}, 200),
            ({"host": "0.0.0.0"}, 403),
            ({"host": "0.0.0.0", "add_personas": True}, 200),
            ({"add_personas": False}, 403),
        ],
    )
    def test_by_default_only_on_this_machine(self, whisper, own, mine, server, status):
        with client_of(whisper, own, **server) as client:
            answer = client.post("/api/recordings", content=mine)
            assert answer.status_code == status
            offered = client.get("/api/config").json()["recordings"]
            assert (offered is not None) == (status == 200)
            if status == 403:
                assert "set server.add_personas to true" in refusal(answer)
                for path in ("/api/personas", "/api/recordings/x/words"):
                    assert client.post(path, json={}).status_code == 403

    def test_other_sites_may_not(self, client):
        foreign = {"origin": "https://evil.example"}
        assert client.post("/api/recordings", content=b"x", headers=foreign).status_code == 403
        assert client.post("/api/personas", json={}, headers=foreign).status_code == 403

    def test_not_while_the_models_load(self, own, mine):
        with client_of(None, own) as client:
            answer = client.post("/api/recordings", content=mine)
            assert answer.status_code == 503
            assert "still loading" in refusal(answer)


class TestBounds:
    def test_a_body_is_bounded_by_its_length_and_as_it_comes(self, client):
        large = bytes(studio.MAX_RECORDING_BYTES + 1)
        for body in (large, iter([large[:50_000], large])):
            answer = client.post("/api/recordings", content=body)
            assert answer.status_code == 413
            assert refusal(answer).startswith("The file is larger than 6 MB")

    def test_what_is_too_large_is_refused_before_it_is_sent(self):
        """Over a real socket: a gigabyte is announced, and nothing of it follows."""
        with LiveServer(LLM__PROVIDER="openai", LLM__BASE_URL="http://127.0.0.1:9/v1") as server:
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
            connection.putrequest("POST", "/api/recordings")
            connection.putheader("Content-Length", str(10**9))
            connection.endheaders()
            answer = connection.getresponse()
            assert answer.status == 413
            assert json.load(answer)["error"].startswith("The file is larger than")

    def test_one_is_listened_to_at_a_time_and_few_wait(self, whisper, own, mine):
        """The fifth at once is told to come back; the four before it are served in the end."""
        calls, settings = calls_of(whisper, own)
        app = create_app(settings, calls, calls._metrics)
        answers: queue.Queue[int] = queue.Queue()
        decode = whisper._decoder.decode
        go_on, at_once, most = threading.Event(), [0], [0]

        def held(audio, **how):
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            go_on.wait(60)
            at_once[0] -= 1
            return decode(audio, **how)

        whisper._decoder.decode = held
        try:
            with TestClient(app, base_url="http://localhost") as client:

                def send() -> None:
                    answers.put(client.post("/api/recordings", content=mine).status_code)

                threads = [threading.Thread(target=send) for _ in range(6)]
                for thread in threads:
                    thread.start()
                refused = [answers.get(timeout=60), answers.get(timeout=60)]
                go_on.set()
                for thread in threads:
                    thread.join(60)
        finally:
            go_on.set()
            whisper._decoder.decode = decode
        assert refused == [503, 503]
        assert [answers.get_nowait() for _ in range(4)] == [200] * 4
        assert most == [1]

    def test_who_came_too_late_reads_a_sentence(self, client, mine, monkeypatch):
        monkeypatch.setattr(studio, "_MAX_WAITING", -1)
        answer = client.post("/api/recordings", content=mine)
        assert answer.status_code == 503
        assert refusal(answer) == (
            "Other recordings are being listened to. Please try again in a minute."
        )

    def test_it_goes_on_after_a_refusal(self, client, mine):
        for _ in range(6):
            client.post("/api/recordings", content=b"junk")
        assert examine(client, mine)["usable"]
