"""What the tests of the embedded language model share."""

from typing import Any

import psutil
from openai import AsyncOpenAI

from agent.embedded.llm import HEADERS, SAMPLING

SYSTEM = (
    "You are Ada, a friendly voice assistant. Answer in one or two short sentences. Speak plainly, "
    "use no lists and no emoji. If you do not know something, say so."
)
STORY = [{"role": "user", "content": "Tell a very long story."}]


async def answer(
    client: AsyncOpenAI, messages: list[Any], slot: int = 0, **options: Any
) -> tuple[str, dict[str, Any]]:
    """The streamed answer, greedily chosen, and llama.cpp's count of what it evaluated."""
    options = {"temperature": 0, "max_tokens": 24, **options}
    stream = await client.chat.completions.create(
        model="smol",
        messages=messages,
        stream=True,
        extra_body={**SAMPLING, "id_slot": slot},
        extra_headers=HEADERS,
        **options,
    )
    text, timings = "", {}
    async for chunk in stream:
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        timings = (chunk.model_extra or {}).get("timings") or timings
    return text, timings


def servers_of(pid: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(pid).children()
        if "agent.embedded.llm_server" in child.cmdline()
    ]
