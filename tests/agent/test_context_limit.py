"""A long conversation: the newest turns that fit, beginning with the caller."""

from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.tests.utils import run_test

from agent.context_limit import ContextLimit, newest_within


def turns(*texts):
    return [
        {"role": "user" if i % 2 == 0 else "assistant", "content": text}
        for i, text in enumerate(texts)
    ]


def test_a_short_conversation_stays_whole():
    messages = turns("a", "b", "c")
    assert newest_within(messages, 3) == messages


def test_the_oldest_leave_and_the_caller_begins():
    messages = turns("aaaa", "bbbb", "cccc", "dddd", "eeee")
    assert newest_within(messages, 16) == messages[2:]
    assert newest_within(messages, 12) == messages[2:]


def test_a_last_message_that_is_too_long_keeps_its_end():
    assert newest_within(turns("x" * 100 + "end"), 3) == turns("end")


@given(st.lists(st.text(max_size=30), min_size=1, max_size=30), st.integers(30, 200))
def test_what_is_kept_is_a_tail_that_fits(texts, limit):
    messages = turns(*texts)
    kept = newest_within(messages, limit)
    assert kept == messages[len(messages) - len(kept) :]
    assert kept
    assert sum(len(m["content"]) for m in kept) <= limit


async def test_the_model_gets_the_shortened_context():
    context = LLMContext(turns("old " * 50, "older", "new"))  # type: ignore[arg-type]
    await run_test(ContextLimit(context, 50), frames_to_send=[LLMContextFrame(context)])
    assert context.messages == turns("new")


async def test_a_speculation_is_limited_and_so_is_the_conversation_it_copies():
    messages = turns("old " * 50, "older", "new")
    context, copy = LLMContext(messages[:2]), LLMContext(messages)  # type: ignore[arg-type]
    frame = LLMContextFrame(copy, speculation=True)
    await run_test(ContextLimit(context, 50), frames_to_send=[frame])
    assert copy.messages == turns("new")
    assert sum(len(m["content"]) for m in context.messages) <= 50  # type: ignore[index]
