"""The page of the emulator in headless Chromium: live, by click and by key, and safe against hostile prompts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest

from imagesdk.emulator import Emulator
from tests.support.browsers import Browser, chromium, complaints, prefer, press, until

pytestmark = pytest.mark.chromium

HOSTILE = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
PLACES = ("a valley in the mist", "hills in the morning", "a river at dusk")


@pytest.fixture
def plain_scenes() -> None:
    """Draw real scenes, for people to look at."""


@pytest.fixture(scope="module")
def served() -> Iterator[Emulator]:
    with Emulator(limit="50/min") as emulator:
        yield emulator


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    served.reset()
    return served


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def browser(window: Browser, emulator: Emulator) -> Iterator[Browser]:
    window.get(f"{emulator.origin}/")
    until(window, lambda driver: text(driver, "#news") == "live")
    yield window
    assert complaints(window) == []


def text(browser: Browser, selector: str) -> str:
    return str(browser.find_element("css selector", selector).text)


def texts(browser: Browser, selector: str) -> list[str]:
    """The texts of the elements that can be seen."""
    return [found.text for found in browser.find_elements("css selector", selector) if found.is_displayed()]


def generate(emulator: Emulator, prompt: str, **fields: Any) -> httpx.Response:
    body = {"model": "dall-e-2", "size": "256x256", "prompt": prompt, **fields}
    return httpx.post(f"{emulator.base_url}/images/generations", json=body, timeout=60)


def test_an_image_appears_when_it_is_made(browser: Browser, emulator: Emulator) -> None:
    assert emulator.base_url in text(browser, "#nothing")
    for prompt in PLACES:
        generate(emulator, prompt)
    until(browser, lambda driver: texts(driver, ".card p") == list(reversed(PLACES)))
    widths = "return [...document.querySelectorAll('.card img')].map(image => image.naturalWidth)"
    until(browser, lambda driver: driver.execute_script(widths) == [256] * 3)
    assert text(browser, "#limit").startswith("3 of 50 images in 60 s")
    assert "3 images billed, $0.0480" in text(browser, "#billed")
    assert text(browser, "[data-view=gallery]") == "Images 3"


def test_request_and_response_of_each_are_shown(browser: Browser, emulator: Emulator) -> None:
    generate(emulator, "a cat", size="7x7")
    until(browser, lambda driver: texts(driver, ".tile strong") == ["400"])
    browser.find_element("css selector", ".card").click()
    assert '"size": "7x7"' in text(browser, "#request")
    until(browser, lambda driver: "Invalid value: '7x7'" in text(driver, "#response"))
    assert "x-request-id: req_" in text(browser, "#response")
    press(browser, "\ue00c")  # Escape
    generate(emulator, "a storm", model="gpt-image-1", stream=True, partial_images=2, size="1024x1024")
    until(browser, lambda driver: len(texts(driver, ".card")) == 2)
    browser.find_element("css selector", ".card").click()
    until(browser, lambda driver: len(driver.find_elements("css selector", "#strip button")) == 3)
    assert text(browser, "#prompt") == "a storm"
    until(browser, lambda driver: "event: image_generation.partial_image" in text(driver, "#response"))


def test_a_hostile_prompt_stays_text_everywhere(browser: Browser, emulator: Emulator) -> None:
    generate(emulator, HOSTILE)
    generate(emulator, HOSTILE, model=HOSTILE, user=HOSTILE)
    httpx.get(f"{emulator.origin}/{HOSTILE}")
    until(browser, lambda driver: texts(driver, ".card p") == [HOSTILE, HOSTILE])
    for card in browser.find_elements("css selector", ".card"):
        card.click()
        until(browser, lambda driver: "x-request-id" in text(driver, "#response"))
        assert text(browser, "#prompt") == HOSTILE
        press(browser, "\ue00c")
    press(browser, "2")
    until(browser, lambda driver: len(texts(driver, "tbody tr")) == 3)
    assert browser.title == "Emulator of the Images API"
    assert len(browser.find_elements("tag name", "script")) == 1


def test_a_fault_is_queued_by_click_and_meets_the_next_request(browser: Browser, emulator: Emulator) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("name", "fault")).select_by_visible_text("429")
    browser.find_element("name", "retry_after").send_keys("7")
    browser.find_element("css selector", "#fault button").click()
    until(browser, lambda driver: len(texts(driver, "#queued li")) == 1)
    answer = generate(emulator, "a cat")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    until(browser, lambda driver: not texts(driver, "#queued li"))
    Select(browser.find_element("name", "fault")).select_by_visible_text("reset_after_work")
    browser.find_element("css selector", "#fault button").click()
    until(browser, lambda driver: len(texts(driver, "#queued li")) == 1)
    browser.find_element("id", "clear").click()
    until(browser, lambda driver: len(emulator.state.faults) == 0)


def test_the_clock_is_advanced_by_click_and_the_window_is_empty(browser: Browser, emulator: Emulator) -> None:
    generate(emulator, "a cat", n=5)
    until(browser, lambda driver: text(driver, "#limit").startswith("5 of 50"))
    before = emulator.state.clock()
    browser.find_element("css selector", "[data-advance='3600']").click()
    until(browser, lambda driver: text(driver, "#limit").startswith("0 of 50"))
    assert emulator.state.clock() - before > 3599


def test_the_verdict_leads_to_its_requests(browser: Browser, emulator: Emulator) -> None:
    until(browser, lambda driver: text(driver, "#verdict") == "Nothing found")
    for _ in range(2):
        generate(emulator, "something forbidden")
    until(browser, lambda driver: "refusal-repeated" in text(driver, "#verdict"))
    assert "Expected:" in text(browser, ".finding")
    browser.find_element("css selector", ".finding button").click()
    assert text(browser, "#prompt") == "something forbidden"


def test_keys_search_open_turn_copy_and_close(browser: Browser, emulator: Emulator) -> None:
    from selenium.webdriver.common.keys import Keys

    for prompt in PLACES:
        generate(emulator, prompt)
    until(browser, lambda driver: len(texts(driver, ".card")) == 3)
    press(browser, "/", "HILLS")
    until(browser, lambda driver: texts(driver, ".card p") == [PLACES[1]])
    press(browser, *[Keys.BACKSPACE] * len("HILLS"))
    until(browser, lambda driver: len(texts(driver, ".card")) == 3)
    browser.find_element("css selector", ".card").send_keys(Keys.RIGHT)
    press(browser, Keys.ENTER)
    assert text(browser, "#prompt") == PLACES[1]
    press(browser, Keys.RIGHT)
    assert (text(browser, "#prompt"), text(browser, "#place")) == (PLACES[0], "#1, 3 of 3")
    grant = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", grant)
    press(browser, "c")
    read = "navigator.clipboard.readText().then(arguments[0])"
    until(browser, lambda driver: driver.execute_async_script(read) == PLACES[0])
    press(browser, Keys.ESCAPE)
    assert not browser.find_element("tag name", "dialog").is_displayed()


def test_an_image_is_made_from_the_page_and_reset_forgets_it(browser: Browser, emulator: Emulator) -> None:
    browser.find_element("css selector", "#try input").send_keys("an otter\n")
    until(browser, lambda driver: texts(driver, ".card p") == ["an otter"])
    until(browser, lambda driver: emulator.state.billed_images == 1)
    reset = browser.find_element("id", "reset")
    reset.click()
    assert emulator.state.billed_images == 1
    reset.click()
    until(browser, lambda driver: not texts(driver, ".card"))
    assert emulator.state.requests == []


def test_a_paused_page_asks_for_nothing(browser: Browser, emulator: Emulator) -> None:
    press(browser, "p")
    until(browser, lambda driver: text(driver, "#news") == "paused")
    generate(emulator, "a cat")
    asked = "return performance.getEntriesByType('resource').length"
    before = browser.execute_script(asked)
    settled = "setTimeout(arguments[0], 1500)"
    browser.execute_async_script(settled)
    assert browser.execute_script(asked) == before
    press(browser, "p")
    until(browser, lambda driver: texts(driver, ".card p") == ["a cat"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_as_in_the_docs(browser: Browser, emulator: Emulator, tmp_path: Path, scheme: str) -> None:
    """Set ``IMAGESDK_SCREENSHOT`` to a folder to take the images of the docs anew."""
    prefer(browser, scheme)
    for prompt in PLACES:
        generate(emulator, prompt)
    generate(emulator, "an otter, cut out", model="gpt-image-1", size="1024x1024", background="transparent")
    generate(emulator, "a road to the sea", model="gpt-image-2", size="1536x1024")
    generate(emulator, "something forbidden")
    emulator.state.faults.http(429, headers={"retry-after": "2"})
    for _ in range(2):
        generate(emulator, "an island in a storm", n=2)
    until(browser, lambda driver: len(texts(driver, ".card")) == 8)
    until(browser, lambda driver: "retry-after-ignored" in text(driver, "#verdict"))
    until(browser, lambda driver: "in progress" not in text(driver, "#gallery"))
    if scheme == "dark":
        browser.find_elements("css selector", ".card")[4].click()
        until(browser, lambda driver: "x-request-id" in text(driver, "#response"))
    there = "return [...document.images].filter(image => image.src).every(image => image.naturalWidth)"
    until(browser, lambda driver: driver.execute_script(there))
    name = "emulator.png" if scheme == "light" else "emulator-request.png"
    to = Path(os.environ.get("IMAGESDK_SCREENSHOT", tmp_path)) / name
    to.write_bytes(browser.get_screenshot_as_png())
    with PIL.Image.open(to) as image:
        assert image.width > 1000
        assert len(set(image.convert("RGB").resize((64, 64)).tobytes())) > 50
