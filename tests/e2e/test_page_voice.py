"""The page says which voice speaks, and once, quietly, when that changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import microphone, open_page
from tests.e2e.puppet import PuppetCall, PuppetServer
from tests.e2e.test_browser import shoot

pytestmark = pytest.mark.browser

AWAY = "CSM cannot speak just now; the spare voice speaks until it can."


def voice(engine: str, why: str = "", name: str = "Ada") -> dict[str, Any]:
    return {"type": "voice", "engine": engine, "name": name, "why": why}


@asynccontextmanager
async def talking(folder: Path, **look: Any) -> AsyncIterator[tuple[Page, PuppetCall]]:
    mic = microphone(folder / "mic.wav", 120)
    async with PuppetServer() as server, open_page(server.url, mic, **look) as page:
        await page.get_by_test_id("start").click()
        call = await server.call()
        # An agent that does not greet listens.
        await expect(page.get_by_test_id("status")).to_have_text("Listening")
        yield page, call


async def shows(page: Page, label: str, note: str = "") -> None:
    await expect(page.get_by_test_id("voice")).to_have_text(label)
    await expect(page.get_by_test_id("voice-note")).to_have_text(note)


@pytest.mark.parametrize(
    ("message", "label"),
    [
        (voice("csm"), "Ada · CSM"),
        (voice("kokoro"), "Ada · Kokoro"),
        (voice("kokoro", "There is no GPU here."), "Ada · Kokoro, in place of CSM"),
        (voice("another"), "Ada · another"),
        (voice("csm", name="<b>Ada</b>"), "<b>Ada</b> · CSM"),
    ],
)
async def test_which_voice_speaks_when_the_call_begins(tmp_path, message, label):
    async with talking(tmp_path) as (page, call):
        await call.tell(message)
        await shows(page, label)
        await expect(page.get_by_test_id("voice")).to_have_attribute("title", message["why"])


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("light", {}),
        ("dark", {"dark": True}),
        ("phone", {"size": (390, 844)}),
        ("phone-dark", {"size": (390, 844), "dark": True}),
        ("landscape", {"size": (844, 390)}),
    ],
)
async def test_a_change_is_said_in_one_sentence_for_a_while(tmp_path, name, look):
    async with talking(tmp_path, **look) as (page, call):
        await call.tell(voice("csm"))
        await shows(page, "Ada · CSM")
        await shoot(page, f"voice-{name}")

        await call.tell(voice("kokoro", AWAY))
        await shows(page, "Ada · Kokoro, in place of CSM", AWAY)
        await page.wait_for_timeout(400)  # until it stands still
        await shoot(page, f"voice-{name}-away")
        # Screen readers say it when they have said what they are saying.
        note = page.get_by_role("status").filter(has_text=AWAY)
        await expect(note).to_have_count(1)
        width = await page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= look.get("size", (1280, 800))[0], "nothing sticks out sideways"

        await call.tell(voice("csm"))
        await shows(page, "Ada · CSM", "CSM is back.")
        await page.wait_for_timeout(400)
        await shoot(page, f"voice-{name}-back")
        await expect(page.get_by_text(AWAY)).to_have_count(0)
        await expect(page.get_by_test_id("voice-note")).to_have_text("", timeout=20_000)
        await shows(page, "Ada · CSM")


async def test_a_change_without_a_reason_is_said_too(tmp_path):
    async with talking(tmp_path) as (page, call):
        await call.tell(voice("csm"))
        await call.tell(voice("kokoro"))
        await shows(
            page,
            "Ada · Kokoro, in place of CSM",
            "CSM has failed; Ada speaks with a spare voice until it is back.",
        )


async def test_the_same_again_is_no_news(tmp_path):
    async with talking(tmp_path) as (page, call):
        await call.tell(voice("kokoro", "There is no GPU here."))
        await call.tell(voice("kokoro", "There is no GPU here."))
        await call.tell({"type": "notice", "level": "info", "text": "That was all."})
        await expect(page.get_by_test_id("error")).to_contain_text("That was all.")
        await shows(page, "Ada · Kokoro, in place of CSM")


async def test_the_next_call_begins_without_the_last_ones_news(tmp_path):
    async with talking(tmp_path) as (page, call):
        await call.tell(voice("csm"))
        await call.tell(voice("kokoro", AWAY))
        await shows(page, "Ada · Kokoro, in place of CSM", AWAY)
        await page.get_by_test_id("stop").click()
        await shows(page, "")
