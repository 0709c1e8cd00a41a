"""A voice of one's own, in a real Chromium: recorded or uploaded, agreed to, and talked to."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr
from playwright.async_api import Page, Route, expect

from agent.cli import main
from agent.persona import load_persona
from tests.e2e.browser import microphone, open_page
from tests.e2e.test_browser import hears, line, shoot, start, state
from tests.hearing import word_errors
from tests.live_server import LiveServer
from tests.recordings import RATE_HZ, music, silence, spoken, two_people, write
from tests.scripted_llm import ScriptedLLM

# Beside other tests, on a machine that others use too, a page takes its time.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
expect.set_options(timeout=60_000)

MAX, WORDS = spoken("max")
# The persona's folder and its LLM are the module's own, so that nothing is left to other tests.


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("personas")


@pytest.fixture(scope="module")
def studio(_llm: ScriptedLLM, own: Path) -> Iterator[LiveServer]:
    with LiveServer(
        LLM__PROVIDER="openai", LLM__BASE_URL=_llm.url, PERSONAS_DIR=str(own)
    ) as server:
        yield server


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A recording as people make them: a bit quiet, with silence around the words."""
    return write(tmp_path / "mine.wav", np.concatenate([silence(1), 0.4 * MAX, silence(1)]), 44_100)


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    return microphone(tmp_path / "mic.wav", 120)


async def enter(page: Page) -> None:
    await page.get_by_role("button", name="A voice of your own").click()
    await expect(page.get_by_role("heading", name="A voice of your own")).to_be_focused()


async def upload(page: Page, *paths: Path) -> None:
    await page.get_by_label("Upload a file").set_input_files(list(paths))
    listening = page.locator('[data-testid="recording"][aria-busy="true"]')
    await expect(listening).to_have_count(0, timeout=120_000)


async def agree(page: Page, name: str) -> None:
    await page.get_by_label("Whose voice is it").fill("It is my own voice.")
    await page.get_by_label("Under which terms").fill("For my own use only.")
    await page.get_by_label("What is it called?").fill(name)


async def make(page: Page) -> None:
    await page.get_by_role("button", name="Make this voice").click()


async def make_bob(page: Page, name: str, recording: Path) -> None:
    await enter(page)
    await upload(page, recording)
    await agree(page, name)
    await make(page)
    await expect(page.get_by_test_id("error")).to_contain_text(f"{name} is ready.")


async def test_from_a_recording_to_a_conversation(studio, llm, own, mine, quiet):
    async with open_page(studio.url, quiet) as page:
        await shoot(page, "start")
        await enter(page)
        await upload(page, mine)
        recording = page.get_by_test_id("recording")
        await expect(recording).to_contain_text(re.compile(r"\d\.\d s, good to use\."))
        text = page.get_by_label("What is said in it, word for word")
        await expect(text).to_have_value(re.compile("we find out what is broken"))
        await recording.get_by_text("What was checked, and done to it").click()
        await expect(recording).to_contain_text("One voice")
        await expect(recording).to_contain_text("before the first word")
        await text.fill(WORDS)
        await expect(recording).to_contain_text("The text is what is said")
        await shoot(page, "listened")
        await agree(page, "Nora Lind")
        await page.get_by_label("What is it like?").select_option("edith")
        await make(page)

        await expect(page.locator("#title")).to_have_text("Talk to Nora Lind")
        await expect(page.get_by_test_id("error")).to_contain_text("Nora Lind is ready.")
        await expect(page.locator('.card[data-persona="nora-lind"]')).to_be_in_viewport(ratio=0.99)
        await shoot(page, "made")
        await expect(page.get_by_test_id("start")).to_be_focused()
        await page.keyboard.press("Enter")
        greeting = load_persona(own / "nora-lind" / "persona.yaml").greeting
        assert "Nora Lind" in greeting
        await expect(line(page, "agent")).to_have_text(greeting)
        await hears(page, greeting, most_errors=0.35)
    persona = load_persona(own / "nora-lind" / "persona.yaml")
    assert persona.voice.consent == "It is my own voice."
    assert persona.voice.references[0].text == WORDS


async def test_recorded_with_the_microphone(studio, own, tmp_path):
    speech = soxr.resample(MAX, RATE_HZ, 16_000).astype(np.float32)
    mic = microphone(tmp_path / "mic.wav", 0.5, speech, 60)
    async with open_page(studio.url, mic) as page:
        await enter(page)
        await page.get_by_role("button", name="Record", exact=True).click()
        done = page.get_by_role("button", name="Done")
        await expect(done).to_be_focused()
        await expect(page.get_by_test_id("seconds")).to_have_text(re.compile(r"^1\.\d s"))
        level = page.get_by_role("meter", name="Microphone level").locator("visible=true")
        await expect(level).not_to_have_attribute("aria-valuenow", "0")
        await shoot(page, "recording")
        await expect(page.get_by_test_id("seconds")).to_have_text(
            re.compile(r"^1[12]\.\d s"), timeout=60_000
        )
        await done.click()
        recording = page.get_by_test_id("recording")
        await expect(recording).to_have_attribute("data-grade", re.compile("good|warning"))
        heard = await page.get_by_label("What is said in it").input_value()
        assert word_errors(heard, WORDS) <= 0.15
        # It is played back as it was recorded.
        await page.get_by_role("button", name="Play Recording 1").click()
        await expect(page.get_by_role("button", name="Pause Recording 1")).to_be_visible()
        await page.get_by_role("button", name="Remove Recording 1").click()
        await expect(recording).to_have_count(0)
        await expect(page.get_by_role("button", name="Record", exact=True)).to_be_focused()


async def test_recording_ends_by_itself(studio, tmp_path):
    """At the length that the server names: 30 s, here 4."""
    speech = soxr.resample(MAX, RATE_HZ, 16_000).astype(np.float32)
    mic = microphone(tmp_path / "mic.wav", speech, 60)

    async def shorter(route: Route) -> None:
        answer = await route.fetch()
        config = await answer.json()
        assert config["recordings"]["longest_s"] == 30
        config["recordings"]["longest_s"] = 4
        await route.fulfill(response=answer, body=json.dumps(config))

    async with open_page("about:blank", mic) as page:
        await page.route("**/api/config", shorter)
        await page.goto(studio.url)
        await enter(page)
        await page.get_by_role("button", name="Record", exact=True).click()
        await expect(page.get_by_test_id("recording")).to_have_count(1)
        await expect(page.get_by_test_id("take")).to_be_hidden()
        about = page.get_by_test_id("recording")
        await expect(about).to_contain_text(re.compile(r"[34]\.\d s"), timeout=60_000)


async def test_what_is_wrong_with_a_recording_is_said_in_a_sentence(studio, tmp_path, quiet):
    bad = {
        "music.wav": (music(8), RATE_HZ, "Nobody speaks in it"),
        "silence.wav": (silence(5), RATE_HZ, "It is silent; was the microphone muted?"),
        "syllable.wav": (MAX[: int(0.3 * RATE_HZ)], RATE_HZ, "It lasts 0.3 s, too short"),
        "long.mp3": (np.tile(MAX, 19), RATE_HZ, "s; a reference takes 3 to 30 s"),
        "two.wav": (two_people(), RATE_HZ, "Two people speak"),
        "call.mp3": (MAX, 8_000, "it went through a telephone"),
    }
    paths = [write(tmp_path / name, sound, rate) for name, (sound, rate, _) in bad.items()]
    (tmp_path / "letter.wav").write_bytes(b"Dear diary, today I recorded nothing." * 100)
    async with open_page(studio.url, quiet) as page:
        await enter(page)
        await upload(page, *paths, tmp_path / "letter.wav")
        for name, (_, _, sentence) in bad.items():
            recording = page.get_by_test_id("recording").filter(has_text=name)
            await expect(recording).to_have_attribute("data-grade", "refused")
            await expect(recording.locator('li[data-grade="refused"]').first).to_contain_text(
                sentence
            )
            await expect(recording.get_by_test_id("words")).to_be_hidden()
        letter = page.get_by_test_id("recording").filter(has_text="letter.wav")
        await expect(letter).to_contain_text("is not a recording that can be read")
        await shoot(page, "refused")
        await agree(page, "Bob")
        await make(page)
        first = page.get_by_test_id("recording").first
        await expect(first).to_contain_text("It cannot be used. Remove it, and record or upload")


async def test_a_file_that_is_too_large_is_not_even_sent(studio, tmp_path, quiet):
    path = write(tmp_path / "session.wav", np.tile(MAX, 19))
    async with open_page(studio.url, quiet) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await enter(page)
        await upload(page, path)
        recording = page.get_by_test_id("recording")
        await expect(recording).to_contain_text("The file has 9 MB; a reference lasts 30 s at most")
        assert not [url for url in asked if "/api/recordings" in url]


async def test_what_is_missing_is_said_where_it_is(studio, llm, mine, quiet):
    async with open_page(studio.url, quiet, dark=True, size=(390, 844)) as page:
        await enter(page)
        await shoot(page, "phone-dark-studio")
        await make(page)
        problems = page.locator("#studio-form .problem:not(:empty)")
        await expect(problems).to_have_text(
            [
                "Record the voice, or upload a recording.",
                "Add whose voice it is and how that person agreed.",
                "Add under which terms the recordings may be used.",
                "Give it a name.",
            ]
        )
        await expect(page.get_by_label("What is it called?")).to_have_attribute(
            "aria-invalid", "true"
        )
        await upload(page, mine)
        await agree(page, "Ada")
        text = page.get_by_label("What is said in it")
        await text.fill("Quite another text, I think, than what is said.")
        await expect(page.get_by_test_id("recording")).to_contain_text("The text is not what is")
        await make(page)
        await expect(text).to_be_focused()
        await expect(page.get_by_test_id("recording")).to_contain_text("Correct the words, or tick")
        await shoot(page, "phone-dark-problems")
        await page.get_by_label("That is what is said all the same.").check()
        await make(page)
        await expect(problems.filter(has_text="There is a persona 'ada' already")).to_be_visible()
        await expect(page.get_by_label("What is it called?")).to_be_focused()
        width = await page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= 390, "nothing sticks out sideways"


async def test_a_click_fills_in_what_most_people_would_write(studio, quiet):
    async with open_page(studio.url, quiet) as page:
        await enter(page)
        await page.get_by_role("button", name="It is my own voice").click()
        await expect(page.get_by_label("Whose voice is it")).to_have_value(
            "It is my own voice; I recorded it for this agent."
        )


async def test_what_was_entered_is_there_after_a_look_at_the_start(studio, mine, quiet):
    async with open_page(studio.url, quiet) as page:
        await enter(page)
        await upload(page, mine)
        await page.get_by_label("What is it called?").fill("Bob")
        await page.get_by_role("button", name="Back").click()
        await expect(page.get_by_test_id("start")).to_be_visible()
        await enter(page)
        await expect(page.get_by_label("What is it called?")).to_have_value("Bob")
        await expect(page.get_by_test_id("recording")).to_have_count(1)


async def test_no_microphone_is_said_beside_the_button(studio):
    async with open_page(studio.url, None, allow_microphone=False) as page:
        await page.evaluate(
            """() => { navigator.mediaDevices.getUserMedia = () =>
              Promise.reject(new DOMException('denied', 'NotAllowedError')); }"""
        )
        await enter(page)
        await page.get_by_role("button", name="Record", exact=True).click()
        await expect(page.locator("#recordings-problem")).to_contain_text("microphone is blocked")


async def test_where_the_server_makes_no_personas_nothing_is_offered(studio, quiet):
    async def without(route: Route) -> None:
        answer = await route.fetch()
        config = await answer.json()
        await route.fulfill(response=answer, body=json.dumps({**config, "recordings": None}))

    async with open_page("about:blank", quiet) as page:
        await page.route("**/api/config", without)
        await page.goto(studio.url)
        await expect(page.get_by_test_id("start")).to_be_enabled()
        await expect(page.get_by_test_id("own-voice")).to_be_hidden()


async def test_a_voice_that_is_removed_while_it_speaks(studio, llm, own, mine, quiet, capsys):
    """The call goes on to its end; the next one gets one sentence."""
    llm.reply = lambda messages: "Apples are red or green."
    async with open_page(studio.url, quiet) as page:
        await make_bob(page, "Bob", mine)
        await start(page)
        await state(page, "listening")
        assert main(["persona", "remove", "bob", "--dir", str(own), "--yes"]) == 0
        assert not (own / "bob").exists()
        await page.get_by_test_id("type").fill("Tell me about apples.")
        await page.keyboard.press("Enter")
        await expect(line(page, "agent")).to_contain_text("Apples are red or green.")
        await state(page, "listening")
        await page.get_by_test_id("stop").click()
        await state(page, "idle")
        await start(page)
        await expect(page.get_by_test_id("error")).to_contain_text(
            "Bob was removed. Please choose somebody else."
        )


async def test_a_conversation_goes_on_while_a_recording_is_listened_to(studio, llm, mine, quiet):
    llm.reply = lambda messages: "Apples are red or green."
    async with (
        open_page(studio.url, quiet) as talking,
        open_page(studio.url, quiet) as making,
    ):
        await start(talking)
        await state(talking, "listening")
        await enter(making)
        await making.get_by_label("Upload a file").set_input_files(mine)
        await talking.get_by_test_id("type").fill("Tell me about apples.")
        await talking.keyboard.press("Enter")
        await expect(line(talking, "agent")).to_contain_text("Apples are red or green.")
        await expect(making.get_by_test_id("recording")).to_contain_text("good to use")
        await agree(making, "Carl")
        await make(making)
        await expect(making.get_by_test_id("error")).to_contain_text("Carl is ready.")
        await state(talking, "listening")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
async def test_every_card_is_whole_and_the_start_button_covers_none(studio, quiet, size):
    async with open_page(studio.url, quiet, size=size) as page:
        await expect(page.get_by_test_id("start")).to_be_enabled()
        cards = page.locator(".card")
        assert await cards.count() >= 9
        button = await page.get_by_test_id("own-voice").bounding_box()
        assert button is not None
        for index in range(await cards.count()):
            await cards.nth(index).scroll_into_view_if_needed()
            box = await cards.nth(index).bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= button["y"]
            covered = await cards.nth(index).evaluate(
                """(card) => { const { left, right, top, bottom } = card.getBoundingClientRect();
                  return [top + 3, bottom - 3].some((y) =>
                    !card.contains(document.elementFromPoint((left + right) / 2, y))); }"""
            )
            assert not covered
        begin = await page.get_by_test_id("start").bounding_box()
        assert begin is not None
        assert begin["y"] + begin["height"] <= size[1]
