"""The gallery of a run in headless Chromium: what shows, what the search finds, and that hostile prompts stay text."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest

from imagesdk import Client, Generate
from imagesdk.emulator import Emulator
from imagesdk.fan_out.gallery import write_gallery

if TYPE_CHECKING:  # Selenium is installed for these tests only, and imported when one of them runs
    from selenium import webdriver

pytestmark = pytest.mark.chromium

PLACES = ("a valley in the mist", "hills in the morning", "a river at dusk", "a lake below the moon")
HOSTILE = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
REFUSED = "a forbidden city"
PROMPTS = (*PLACES, "a road to the sea", "an island in a storm", HOSTILE, REFUSED)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery of a run of the emulator, in which one job is refused."""
    out = tmp_path_factory.mktemp("run")
    with Emulator(limit=None) as emulator:
        with Client(base_url=emulator.base_url, api_key="", rate_limit=None) as client:
            usual = Generate("", model="dall-e-2", size="256x256")
            with client.images.fan_out(PROMPTS, out=f"{out}/", defaults=usual) as run:
                run.collect()
    return write_gallery(out / "journal.db", out / "index.html")


@pytest.fixture
def browser(page: Path, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for switch in ("gpu", "background-networking", "component-update", "sync"):
        options.add_argument(f"--disable-{switch}")
    for argument in ("headless=new", "no-sandbox", "no-first-run", "window-size=1180,880"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={tmp_path}")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver") or "chromedriver")
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def shown(browser: webdriver.Chrome) -> set[str]:
    """The prompts of the cards that can be seen."""
    cards = browser.find_elements("css selector", "article")
    return {card.find_element("tag name", "p").text for card in cards if card.is_displayed()}


def count_shown(browser: webdriver.Chrome) -> str:
    return browser.find_element("tag name", "output").text


def test_every_job_has_a_card_and_every_image_shows(browser: webdriver.Chrome) -> None:
    assert shown(browser) == set(PROMPTS)
    assert count_shown(browser) == "8 of 8"
    images = browser.find_elements("css selector", "article img")
    assert len(images) == 7

    from selenium.webdriver.support.ui import WebDriverWait

    look = "return arguments[0].map(image => (image.scrollIntoView(), image.naturalWidth))"

    def are_there(driver: Any) -> bool:
        return bool(driver.execute_script(look, images) == [256] * 7)

    assert WebDriverWait(browser, 10).until(are_there)
    assert {image.get_dom_attribute("loading") for image in images} == {"lazy"}


def test_a_hostile_prompt_stays_text(browser: webdriver.Chrome) -> None:
    assert HOSTILE in shown(browser)
    assert browser.title == "Images"
    assert len(browser.find_elements("tag name", "script")) == 1


def test_the_search_and_the_state_choose_cards(browser: webdriver.Chrome) -> None:
    from selenium.webdriver.support.ui import Select

    search = browser.find_element("tag name", "input")
    search.send_keys("a MOON")
    assert shown(browser) == {"a lake below the moon"}
    assert count_shown(browser) == "1 of 8"
    search.clear()
    search.send_keys(" ")
    Select(browser.find_element("tag name", "select")).select_by_visible_text("refused")
    assert shown(browser) == {REFUSED}


def test_it_looks_as_in_the_docs(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Set ``IMAGESDK_SCREENSHOT`` to a file to take the image of the docs anew."""
    to = os.environ.get("IMAGESDK_SCREENSHOT", str(tmp_path / "gallery.png"))
    Path(to).write_bytes(browser.get_screenshot_as_png())
    with PIL.Image.open(to) as image:
        assert image.width > 1000
        assert len(set(image.convert("RGB").resize((64, 64)).tobytes())) > 50
