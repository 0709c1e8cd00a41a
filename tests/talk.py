"""What the recordings say, and the steps that conversations in tests share."""

from pathlib import Path

import numpy as np

from tests.caller import Caller

DATA = Path(__file__).resolve().parent / "data"
QUESTION = "Can you tell me what the capital of France is?"
REMARK = "I bought some fresh bread and apples at the market."


def transcripts(caller: Caller, *, after: float = 0.0) -> list[str]:
    return [
        m.data["text"]
        for m in caller.messages
        if m.type == "user-transcription" and m.data["final"] and m.at > after
    ]


def interims(caller: Caller) -> list[str]:
    return [
        m.data["text"]
        for m in caller.messages
        if m.type == "user-transcription" and not m.data["final"]
    ]


def spoken_words(caller: Caller, *, after: float) -> str:
    """The agent's caption as of now: of each sentence, what was marked as spoken."""
    said: dict[int, str] = {}
    for m in caller.messages:
        if m.type == "bot-output" and m.at > after:
            progress = m.data.get("spoken_progress") or {}
            said[m.data.get("segment_id", 0)] = progress.get("accumulated_text", "")
    return " ".join(text.strip() for text in said.values() if text)


async def all_said(caller: Caller, *, after: float = 0.0) -> float:
    """Waits until the agent has said all of a reply that it began after a time; returns when.

    Its voice alone does not tell: where a slow machine needs 3 s for the next sentence, Pipecat has
    the agent stop and start again.
    """
    begun = await caller.message("bot-tts-started", after=after, within_s=60)
    made = await caller.message("bot-tts-stopped", after=begun.at, within_s=60)
    return (await caller.message("bot-stopped-speaking", after=made.at, within_s=60)).at


async def greeted(caller: Caller) -> float:
    """Waits until the agent has greeted; returns when it had."""
    return await all_said(caller)


async def answer(caller: Caller, speech: np.ndarray) -> float:
    """Speaks, and waits for the whole answer; returns when the speech ended."""
    spoken_at = await caller.say(speech)
    await all_said(caller, after=spoken_at)
    return spoken_at
