"""Making a persona over HTTP: every refusal is one sentence, and what is made can be called."""

import http.client
import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from pipecat_whisper import WhisperEngine

from agent.calls import Calls
from agent.metrics import Metrics
from agent.models import resolve
from agent.persona import load_persona, load_personas
from agent.server import create_app
from agent.services import Services
from agent.settings import Settings
from agent.voices import studio
from tests.live_server import LiveServer
from tests.recordings import RATE_HZ, music, noise, silence, spoken, two_people, write

MAX, WORDS = spoken("max")
CONSENT = "It is my own voice; I recorded it for this agent."
LICENCE = "For my own use only."


@pytest.fixture(scope="module")
def whisper() -> Iterator[WhisperEngine]:
    engine = WhisperEngine(resolve("tiny.en", "whisper"))
    yield engine
    engine.close()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of one's own personas; it does not exist yet."""
    return tmp_path / "personas"


def calls_of(whisper: WhisperEngine | None, own: Path, **server: object) -> tuple[Calls, Settings]:
    settings = Settings.model_validate({"server": server, "personas_dir": str(own)})
    personas = load_personas()
    services = Services(settings, personas)
    services._whisper = whisper
    calls = Calls(settings, personas, services, Metrics())
    calls.ready = True
    return calls, settings


def client_of(whisper: WhisperEngine | None, own: Path, **server: object) -> TestClient:
    calls, settings = calls_of(whisper, own, **server)
    return TestClient(create_app(settings, calls, calls._metrics), base_url="http://localhost")


@pytest.fixture
def client(whisper, own) -> Iterator[TestClient]:
    with client_of(whisper, own) as client:
        yield client


def bytes_of(tmp_path: Path, samples: np.ndarray, name: str = "a.wav", rate_hz: int = RATE_HZ):
    return write(tmp_path / name, samples, rate_hz).read_bytes()


@pytest.fixture
def mine(tmp_path) -> bytes:
    """A recording as people make them: a bit quiet, with silence around the words."""
    return bytes_of(tmp_path, np.concatenate([silence(1), 0.4 * MAX, silence(1)]), rate_hz=48_000)


def examine(client: TestClient, data: bytes, first: str | None = None) -> dict:
    answer = client.post("/api/recordings", content=data, params={"first": first} if first else {})
    assert answer.status_code == 200, answer.text
    return answer.json()


def wanted(*recordings: dict, **more: object) -> dict:
    return {
        "name": "bob",
        "display_name": "Bob",
        "recordings": [
            {"recording": one["recording"], "text": one["transcript"]} for one in recordings
        ],
        "consent": CONSENT,
        "licence": LICENCE,
        **more,
    }


def refusal(answer) -> str:
    body = answer.json()
    assert isinstance(body["error"], str)
    return body["error"]


class TestAGoodRecording:
    def test_what_was_done_and_heard_is_said(self, client, mine):
        found = examine(client, mine)
        assert found["usable"]
        assert found["duration_s"] == pytest.approx(len(MAX) / RATE_HZ, abs=0.3)
        assert any("before the first word" in step for step in found["steps"])
        assert {finding["grade"] for finding in found["findings"]} == {"good"}
        assert "we find out what is broken" in found["transcript"]
        assert found["same_voice"] is None

    @pytest.mark.parametrize("kind", ["flac", "mp3", "ogg"])
    def test_of_every_kind(self, client, tmp_path, kind):
        found = examine(client, bytes_of(tmp_path, MAX, f"a.{kind}"))
        assert found["usable"]

    def test_it_becomes_a_persona_that_can_be_called_at_once(self, client, own, mine):
        made = client.post("/api/personas", json=wanted(examine(client, mine)))
        assert made.status_code == 201
        # Nearest of the voices that ship: it is Max's, after all.
        assert made.json() == {"name": "bob", "fallback_voice": "am_michael"}
        names = [one["name"] for one in client.get("/api/personas").json()["personas"]]
        assert names.count("bob") == 1
        assert client.post("/api/start", json={"persona": "bob"}).status_code == 200

    def test_it_is_written_as_the_command_writes_it(self, client, own, mine):
        client.post("/api/personas", json=wanted(examine(client, mine)))
        bob = load_persona(own / "bob" / "persona.yaml")
        assert (bob.voice.consent, bob.voice.licence) == (CONSENT, LICENCE)
        (reference,) = bob.voice.references
        assert "we find out what is broken" in reference.text
        header = soundfile.info(own / "bob" / reference.audio)
        assert (header.samplerate, header.channels, header.format) == (RATE_HZ, 1, "FLAC")
        assert [path.name for path in own.iterdir()] == ["bob"]

    def test_corrected_words_are_kept(self, client, own, mine):
        found = examine(client, mine)
        found["transcript"] = WORDS
        client.post("/api/personas", json=wanted(found))
        assert load_persona(own / "bob" / "persona.yaml").voice.references[0].text == WORDS

    def test_it_can_be_like_another_one(self, client, own, mine):
        client.post("/api/personas", json=wanted(examine(client, mine), like="edith"))
        bob = load_persona(own / "bob" / "persona.yaml")
        edith = load_personas()["edith"]
        assert bob.prompt == edith.prompt.replace("Edith", "Bob")
        assert bob.greeting == edith.greeting.replace("Edith", "Bob")
        assert len(bob.examples) == len(edith.examples)

    def test_or_as_one_describes_it(self, client, own, mine):
        about = {"prompt": "You are Bob. You build.", "greeting": "Yes, we can!"}
        client.post("/api/personas", json=wanted(examine(client, mine), **about))
        bob = load_persona(own / "bob" / "persona.yaml")
        assert (bob.prompt, bob.greeting) == ("You are Bob. You build.", "Yes, we can!")

    def test_of_several_recordings(self, client, own, tmp_path):
        half = len(MAX) // 2
        first = examine(client, bytes_of(tmp_path, MAX[:half]))
        second = examine(client, bytes_of(tmp_path, MAX[half:]), first["recording"])
        assert second["same_voice"]["sentence"].startswith("The voice of the first recording")
        assert client.post("/api/personas", json=wanted(first, second)).status_code == 201
        assert len(load_persona(own / "bob" / "persona.yaml").voice.references) == 2

    def test_its_sound_does_not_stay_in_memory(self, client, mine):
        found = examine(client, mine)
        assert client.post("/api/personas", json=wanted(found)).status_code == 201
        again = client.post("/api/personas", json=wanted(found, name="bob2"))
        assert refusal(again).startswith("The server has forgotten this recording")


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (music(8), "Nobody speaks in it"),
        (silence(5), "It is silent; was the microphone muted?"),
        (MAX[: int(0.3 * RATE_HZ)], "It lasts 0.3 s, too short"),
        (two_people(), "Two people speak"),
    ],
    ids=["music", "silence", "0.3 s", "two people"],
)
def test_a_bad_recording_is_explained_and_makes_no_persona(
    client, own, tmp_path, samples, sentence
):
    found = examine(client, bytes_of(tmp_path, samples))
    (flaw,) = [one["sentence"] for one in found["findings"] if one["grade"] == "refused"]
    assert flaw.startswith(sentence)
    assert not found["usable"]
    found["transcript"] = "Some words."
    made = client.post("/api/personas", json=wanted(found))
    assert (made.status_code, own.exists()) == (422, False)
    assert made.json() == {
        "error": flaw,
        "field": "recordings",
        "recording": found["recording"],
    }


def test_three_minutes_are_too_many(client, tmp_path):
    found = examine(client, bytes_of(tmp_path, np.tile(MAX, 19), "long.mp3"))
    (flaw,) = [one["sentence"] for one in found["findings"] if one["grade"] == "refused"]
    assert "s; a reference takes 3 to 30 s" in flaw


def test_an_8_khz_mp3_is_a_telephone(client, tmp_path):
    found = examine(client, bytes_of(tmp_path, MAX, "call.mp3", 8_000))
    assert "it went through a telephone" in json.dumps(found["findings"])
    assert not found["usable"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty: it holds no sound."),
        (b"Dear diary, today I recorded nothing." * 100, "The file is not a recording"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "The file is not a recording"),
    ],
)
def test_what_is_no_recording_is_refused(client, data, sentence):
    answer = client.post("/api/recordings", content=data)
    assert answer.status_code == 422
    assert refusal(answer).startswith(sentence)


def test_ten_minutes_are_not_even_read(client, tmp_path):
    path = tmp_path / "session.flac"
    soundfile.write(path, np.zeros(600 * 8_000, np.int16), 8_000)
    answer = client.post("/api/recordings", content=path.read_bytes())
    assert refusal(answer).startswith("The file lasts 10 minutes; cut out")


class TestWords:
    def test_what_is_said_may_be_compared_with_what_was_heard(self, client, mine):
        token = examine(client, mine)["recording"]
        same = client.post(f"/api/recordings/{token}/words", json={"text": WORDS}).json()
        assert same["grade"] == "good"
        other = client.post(f"/api/recordings/{token}/words", json={"text": "Quite other words."})
        assert other.json()["grade"] == "refused"
        assert "words differ" in other.json()["sentence"]

    def test_other_words_make_no_persona_unless_a_person_insists(self, client, own, mine):
        found = examine(client, mine)
        body = wanted(found)
        body["recordings"][0]["text"] = "Quite other words, I think."
        refused = client.post("/api/personas", json=body)
        assert refused.status_code == 422
        assert refusal(refused).startswith("The text is not what is said")
        assert not own.exists()
        body["recordings"][0]["sure"] = True
        assert client.post("/api/personas", json=body).status_code == 201

    @pytest.mark.parametrize("text", ["", "   ", "?!", "🙂"])
    def test_without_words_there_is_none(self, client, own, mine, text):
        body = wanted(examine(client, mine))
        body["recordings"][0] |= {"text": text, "sure": True}
        refused = client.post("/api/personas", json=body)
        assert (refused.status_code, own.exists()) == (422, False)
        assert refused.json()["recording"] == body["recordings"][0]["recording"]


class TestSeveralRecordings:
    def test_another_person_is_refused(self, client, own, tmp_path, mine):
        first = examine(client, mine)
        ada = bytes_of(tmp_path, spoken("ada")[0], "ada.wav")
        second = examine(client, ada, first["recording"])
        assert second["usable"]
        assert second["same_voice"]["grade"] == "refused"
        refused = client.post("/api/personas", json=wanted(first, second))
        assert (refused.status_code, own.exists()) == (422, False)
        assert refusal(refused).startswith("It is not the person of the first recording")
        assert refused.json()["recording"] == second["recording"]

    def test_more_than_csm_can_hold_is_refused(self, client, own, tmp_path):
        long = bytes_of(tmp_path, np.tile(MAX, 3)[: 26 * RATE_HZ])
        parts = [examine(client, long), examine(client, long)]
        refused = client.post("/api/personas", json=wanted(*parts))
        assert refusal(refused).startswith("Together they last 52 s")
        assert not own.exists()

    def test_more_than_a_persona_has(self, client, mine):
        found = examine(client, mine)
        refused = client.post("/api/personas", json=wanted(*[found] * 9))
        assert refused.status_code == 422
        assert "recordings" in refusal(refused)

    def test_a_forgotten_first_one_is_said(self, client, mine):
        token = examine(client, mine)["recording"]
        assert client.delete(f"/api/recordings/{token}").status_code == 200
        refused = client.post("/api/recordings", content=mine, params={"first": token})
        assert refusal(refused).startswith("The server has forgotten this recording")


class TestWhatIsSaidOfIt:
    @pytest.mark.parametrize(
        ("change", "field", "sentence"),
        [
            ({"consent": ""}, "consent", "Add whose voice it is and how that person agreed"),
            ({"consent": "  "}, "consent", "Add whose voice it is and how that person agreed"),
            ({"licence": ""}, "licence", "Add under which terms the recordings may be used"),
            ({"name": "../bob"}, "name", "A persona's name, '../bob', is 1 to 40 lower-case"),
            ({"name": "/etc"}, "name", "A persona's name, '/etc', is"),
            ({"name": "Bob"}, "name", "A persona's name, 'Bob', is"),
            ({"name": ""}, "name", "A persona's name, '', is"),
            ({"name": "ada"}, "name", "There is a persona 'ada' already; choose another name."),
            ({"like": "nobody"}, "like", "There is no persona 'nobody' to be like."),
            ({"like": "ada", "prompt": "You are Bob."}, "like", "A persona is like another one"),
        ],
    )
    def test_what_is_missing_or_wrong_is_said_where_it_is(
        self, client, own, mine, change, field, sentence
    ):
        refused = client.post("/api/personas", json=wanted(examine(client, mine), **change))
        assert refused.status_code == 422
        assert refusal(refused).startswith(sentence)
        assert refused.json()["field"] == field
        assert not own.exists()

    @pytest.mark.parametrize(
        "change",
        [
            {"display_name": ""},
            {"display_name": "x" * 41},
            {"recordings": []},
            {"unknown": 1},
            {"consent": "x" * 1001},
            {"prompt": "\ud800"},
        ],
    )
    def test_what_could_not_be_a_persona_is_refused(self, client, own, mine, change):
        body = json.dumps(wanted(examine(client, mine), **change))
        refused = client.post(
            "/api/personas", content=body, headers={"content-type": "application/json"}
        )
        assert (refused.status_code, own.exists()) == (422, False)
        assert refusal(refused)

    def test_marks_and_lines_in_a_name_do_no_harm(self, client, own, mine):
        name = "Bob:\n'the' \"B\" #1 {x}"
        assert (
            client.post(
                "/api/personas", json=wanted(examine(client, mine), display_name=name)
            ).status_code
            == 201
        )
        assert load_persona(own / "bob" / "persona.yaml").display_name == "Bob: 'the' \"B\" #1 {x}"

    def test_a_persona_is_never_replaced(self, client, own, mine):
        assert client.post("/api/personas", json=wanted(examine(client, mine))).status_code == 201
        written = (own / "bob" / "persona.yaml").read_bytes()
        again = client.post("/api/personas", json=wanted(examine(client, mine)))
        assert refusal(again) == "There is a persona 'bob' already; choose another name."
        assert (own / "bob" / "persona.yaml").read_bytes() == written

    def test_nor_is_a_folder_that_the_server_does_not_know(self, client, own, mine):
        (own / "bob").mkdir(parents=True)
        (own / "bob" / "diary.txt").write_text("mine")
        refused = client.post("/api/personas", json=wanted(examine(client, mine)))
        assert refusal(refused) == "There is a persona 'bob' already; choose another name."
        assert (own / "bob" / "diary.txt").read_text() == "mine"

    def test_there_is_a_bound_on_personas(self, client, own, mine, monkeypatch):
        monkeypatch.setattr(studio, "MAX_OWN_PERSONAS", 1)
        assert client.post("/api/personas", json=wanted(examine(client, mine))).status_code == 201
        refused = client.post("/api/personas", json=wanted(examine(client, mine), name="bob2"))
        assert "personas of your own already; remove one first" in refusal(refused)

    def test_a_folder_that_cannot_be_written_is_said(self, client, own, mine):
        own.write_text("a file where the folder should be")
        refused = client.post("/api/personas", json=wanted(examine(client, mine)))
        assert refused.status_code == 500
        assert "cannot be written" in refusal(refused)
        assert own.read_text() == "a file where the folder should be"


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


def test_a_persona_that_was_removed_cannot_be_called_any_more(client, own, mine):
    client.post("/api/personas", json=wanted(examine(client, mine)))
    (own / "bob" / "persona.yaml").unlink()
    refused = client.post("/api/start", json={"persona": "bob"})
    assert refused.status_code == 410
    assert refusal(refused) == "Bob was removed. Please choose somebody else."
    names = [one["name"] for one in client.get("/api/personas").json()["personas"]]
    assert "bob" not in names


def test_its_name_may_then_be_given_again(client, own, mine):
    client.post("/api/personas", json=wanted(examine(client, mine)))
    for path in (own / "bob").iterdir():
        path.unlink()
    (own / "bob").rmdir()
    assert client.post("/api/personas", json=wanted(examine(client, mine))).status_code == 201
    assert client.post("/api/start", json={"persona": "bob"}).status_code == 200


def test_noise_is_not_taken_for_words(client, tmp_path):
    found = examine(client, bytes_of(tmp_path, noise(6)))
    assert (found["usable"], found["transcript"]) == (False, "")
