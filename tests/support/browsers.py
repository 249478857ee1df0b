"""Headless Chromium for the tests of the pages, driven by Selenium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

Browser: TypeAlias = Any
"""A driver of Selenium, which is installed for these tests only, and whose types are partly unknown."""


@contextmanager
def chromium(profile: Path) -> Generator[Browser]:
    """A browser with a window of 1180 by 880 pixels, whose console is recorded."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for switch in ("gpu", "background-networking", "component-update", "sync"):
        options.add_argument(f"--disable-{switch}")
    for argument in ("headless=new", "no-sandbox", "no-first-run", "window-size=1180,880"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver") or "chromedriver")
    driver: Browser = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def complaints(browser: Browser) -> list[str]:
    """What the browser wrote to its console since the last call: errors and breaches of the policy."""
    return [str(entry["message"]) for entry in browser.get_log("browser")]


def prefer(browser: Browser, scheme: str) -> None:
    """Make the browser prefer the ``light`` or the ``dark`` scheme."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def press(browser: Browser, *keys: str) -> None:
    """Press keys one after the other, wherever the focus is."""
    from selenium.webdriver import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def until(browser: Browser, condition: Callable[[Browser], object]) -> Any:
    """Wait until ``condition`` returns something true for the browser, and return that.

    A live page may replace an element while the condition looks at it: then it looks again.
    """
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 20, 0.05, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(condition)
