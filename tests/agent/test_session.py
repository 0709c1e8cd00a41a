"""What the page is told of a conversation while it goes on."""

from typing import Any

import pytest

from agent.session import said_since_the_caller

USER = {"role": "user", "content": "And then?"}


def agent(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], ""),
        ([agent("Hello.")], "Hello."),
        ([USER, agent("One."), agent("Two.")], "One. Two."),
        ([agent("Hello."), USER], ""),
        ([agent("Hello."), USER, agent("One,")], "One,"),
        # What is no speech: a tool's call and its result, what a provider alone understands.
        ([USER, agent("One."), agent(None), {"role": "tool", "content": "12"}, object()], "One."),
    ],
)
def test_what_was_heard_is_all_that_was_said_since_the_caller_spoke(messages: list[Any], text: str):
    assert said_since_the_caller(messages) == text
