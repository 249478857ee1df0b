"""The gallery of a run in headless Chromium: what shows, the large view, keys, and that hostile prompts stay text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest

from imagesdk import Client, Generate
from imagesdk.emulator import Emulator
from imagesdk.fan_out.gallery import page as gallery_page
from imagesdk.fan_out.gallery import write_gallery
from imagesdk.fan_out.store import JobRecord
from tests.support.browsers import Browser, chromium, complaints, prefer, press, until

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
            with client.images.fan_out(PROMPTS, out=f"{out}/", defaults=usual, concurrency=1) as run:
                run.collect()
    return write_gallery(out / "journal.db", out / "index.html")


@pytest.fixture
def browser(page: Path, tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as driver:
        driver.get(page.as_uri())
        yield driver
        assert complaints(driver) == []


def texts(browser: Browser, selector: str) -> list[str]:
    """The texts of the elements that can be seen."""
    return [found.text for found in browser.find_elements("css selector", selector) if found.is_displayed()]


def text(browser: Browser, selector: str) -> str:
    return str(browser.find_element("css selector", selector).text)


def test_every_job_has_a_card_and_every_image_shows(browser: Browser) -> None:
    assert set(texts(browser, "article p")) == set(PROMPTS)
    assert text(browser, "header output") == "8 of 8"
    images = browser.find_elements("css selector", "article img")
    assert len(images) == 7
    look = "return arguments[0].map(image => (image.scrollIntoView(), image.naturalWidth))"

    def are_there(driver: Browser) -> bool:
        return bool(driver.execute_script(look, images) == [256] * 7)

    assert until(browser, are_there)
    assert {image.get_dom_attribute("loading") for image in images} == {"lazy"}


def test_a_hostile_prompt_stays_text(browser: Browser) -> None:
    assert HOSTILE in texts(browser, "article p")
    next(card for card in browser.find_elements("css selector", "#images a") if HOSTILE in card.text).click()
    assert text(browser, "#prompt") == HOSTILE
    assert browser.title == "Images"
    assert len(browser.find_elements("tag name", "script")) == 1


def test_jobs_without_images_are_apart_under_their_reason(browser: Browser) -> None:
    assert texts(browser, "#others p") == [REFUSED]
    assert text(browser, "#others .badge") == "refused"
    assert "rejected as a result of our safety system" in text(browser, "#others h3")
    assert set(texts(browser, "#images p")) == set(PROMPTS) - {REFUSED}


def test_the_search_and_the_state_choose_cards(browser: Browser) -> None:
    press(browser, "/", "a MOON")
    until(browser, lambda driver: texts(driver, "article p") == ["a lake below the moon"])
    assert text(browser, "header output") == "1 of 8"
    assert not browser.find_element("id", "others").is_displayed()
    browser.find_element("css selector", "[type=search]").clear()
    browser.find_element("css selector", "[data-state=refused]").click()
    until(browser, lambda driver: texts(driver, "article p") == [REFUSED])
    press(browser, "/", "nothing like it")
    until(browser, lambda driver: texts(driver, ".empty"))
    browser.find_element("css selector", ".empty button").click()
    until(browser, lambda driver: len(texts(driver, "article p")) == len(PROMPTS))


def test_the_large_view_is_turned_by_keys_and_has_an_address(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    order = texts(browser, "#images p")
    browser.find_element("css selector", "#images a").send_keys(Keys.RIGHT)
    press(browser, Keys.ENTER)
    assert text(browser, "#prompt") == order[1]
    press(browser, Keys.RIGHT)
    assert (text(browser, "#prompt"), text(browser, "#place")) == (order[2], "3 of 7")
    press(browser, Keys.END)
    assert text(browser, "#place") == "7 of 7"
    press(browser, Keys.LEFT)
    address = browser.current_url
    press(browser, Keys.ESCAPE)
    assert not browser.find_element("tag name", "dialog").is_displayed()
    assert order[5] in browser.switch_to.active_element.text
    browser.get(address)
    browser.refresh()
    assert text(browser, "#prompt") == order[5]


def test_parameters_show_on_demand_and_stay_for_the_next_image(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.find_element("css selector", "#images a").click()
    assert not browser.find_element("id", "all").is_displayed()
    press(browser, "p", Keys.RIGHT)
    shown = dict(zip(texts(browser, "#all dt"), texts(browser, "#all dd"), strict=True))
    assert (shown["size"], shown["kind"], len(shown["SHA-256"])) == ("256x256", "Generate", 64)


def test_a_prompt_is_copied(browser: Browser) -> None:
    wanted = texts(browser, "#images p")[0]
    grant = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", grant)
    read = "navigator.clipboard.readText().then(arguments[0])"
    browser.find_element("css selector", "#images a").click()
    press(browser, "c")
    until(browser, lambda driver: texts(driver, ".toast") == ["Prompt copied"])
    assert browser.execute_async_script(read) == wanted
    browser.find_element("id", "close").click()
    browser.find_element("css selector", "#others button").click()
    until(browser, lambda driver: driver.execute_async_script(read) == REFUSED)


def test_an_image_that_was_moved_is_named(browser: Browser, page: Path) -> None:
    moved = next(page.parent.glob("a-river-at-dusk*"))
    hidden = moved.rename(moved.with_suffix(".moved"))
    try:
        browser.refresh()
        until(browser, lambda driver: texts(driver, ".gone") == [f"./{moved.name} is not there"])
    finally:
        hidden.rename(moved)
    complaints(browser)  # the browser reports the missing file


def test_of_ten_thousand_images_only_those_near_the_window_cost_something(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    """The browser lays out only what is near the window, and loads no more."""
    image = next(page.parent.glob("a-river*"))
    response = {"images": [{"index": 0, "width": 256, "height": 256, "file": {"path": image.name}}]}
    jobs = (
        JobRecord("", f"{n}", "", "done", response, params={"prompt": f"a river at dusk, {n}"})
        for n in range(10_000)
    )
    big = tmp_path / "big.html"
    big.write_text("".join(gallery_page(jobs, page.parent, tmp_path)))
    browser.get(big.as_uri())
    rendered = "return cards.filter(card => card.firstElementChild.checkVisibility({contentVisibilityAuto: true})).length"
    assert 0 < browser.execute_script(rendered) < 100
    press(browser, "/", "9999")
    until(browser, lambda driver: text(driver, "header output") == "1 of 10,000")
    assert browser.execute_script("return document.images.length") == 10_001


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_as_in_the_docs(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """Set ``IMAGESDK_SCREENSHOT`` to a folder to take the images of the docs anew."""
    prefer(browser, scheme)
    name = "gallery.png" if scheme == "light" else "gallery-large.png"
    to = Path(os.environ.get("IMAGESDK_SCREENSHOT", tmp_path)) / name
    if scheme == "dark":
        browser.find_elements("css selector", "#images a")[2].click()
        press(browser, "p")
    until(
        browser,
        lambda driver: driver.execute_script(
            "return [...document.images].slice(0, 4).every(i => i.complete)"
        ),
    )
    to.write_bytes(browser.get_screenshot_as_png())
    with PIL.Image.open(to) as image:
        assert image.width > 1000
        assert len(set(image.convert("RGB").resize((64, 64)).tobytes())) > 50
        corner = sum(image.convert("RGB").getpixel((image.width - 30, image.height - 160)))  # type: ignore[arg-type]
        assert corner > 600 if scheme == "light" else corner < 200
