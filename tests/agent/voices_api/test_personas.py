"""A persona over HTTP: what is missing is said where it is missing, and nothing is replaced."""

import json

import pytest

from agent.persona import load_persona
from agent.voices import studio
from tests.agent.voices_api.conftest import (
    examine,
    refusal,
    wanted,
)


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
