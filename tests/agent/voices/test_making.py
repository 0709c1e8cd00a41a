"""A new persona takes over another's manner, under its own name."""

from agent.persona import load_personas
from agent.voices.making import in_the_manner_of


def test_the_manner_of_another_under_a_name_of_its_own():
    ada = load_personas()["ada"]
    nora = in_the_manner_of(ada, "Nora & Söhne", "My voice.")
    assert (nora.display_name, nora.description) == ("Nora & Söhne", "My voice.")
    assert nora.prompt.startswith("You are Nora & Söhne, a warm and curious companion.")
    assert nora.greeting == "Hi, I'm Nora & Söhne. What is on your mind?"
    assert len(nora.more["examples"]) == len(ada.examples)
    assert nora.more["apology"] == ada.apology


def test_only_whole_words_are_the_name():
    ada = load_personas()["ada"].model_copy(update={"prompt": "You are Ada. You live in Adaville."})
    assert in_the_manner_of(ada, r"\1").prompt == r"You are \1. You live in Adaville."
