"""A recording over HTTP: what is heard in it, and why it will not do, is said in a sentence."""

import json

import numpy as np
import pytest
import soundfile

from agent.persona import load_persona, load_personas
from tests.agent.voices_api.conftest import (
    CONSENT,
    LICENCE,
    MAX,
    WORDS,
    bytes_of,
    examine,
    refusal,
    wanted,
)
from tests.recordings import RATE_HZ, music, noise, silence, spoken, two_people


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


def test_noise_is_not_taken_for_words(client, tmp_path):
    found = examine(client, bytes_of(tmp_path, noise(6)))
    assert (found["usable"], found["transcript"]) == (False, "")
