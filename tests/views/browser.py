"""A page in a real browser: headless Chromium, driven by selenium. Where either is missing, tests are skipped."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECTIONS = ("diff", "structure", "tables", "graph", "memory")


def _found(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """What a reader does, and what a reader sees."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Open a page in a window of that size, and wait until every section is drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(path.as_uri())
        for section in SECTIONS:
            if self.run("return !!document.getElementById(arguments[0])", section):
                self.show(section)
                ready = "return document.getElementById(arguments[0]).dataset.ready !== undefined"
                self.wait(lambda section=section, ready=ready: self.run(ready, section))

    def show(self, section: str) -> None:
        """Scroll to a section."""
        self.run("document.getElementById(arguments[0]).scrollIntoView({ behavior: 'instant' })", section)

    def run(self, script: str, *args: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *args)

    def all(self, selector: str) -> list[Any]:
        """Every element for a CSS selector."""
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:
        """The first element for a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def click(self, selector: str) -> None:
        """Click on the first element for a CSS selector, once it is there, in the middle of the window."""
        self.wait(lambda: self.all(selector))
        self.run("arguments[0].scrollIntoView({ behavior: 'instant', block: 'center' })", self.one(selector))
        self.one(selector).click()

    def texts(self, selector: str) -> list[str]:
        """The texts of every element for a CSS selector, in one go."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return list(self.run(script, selector))

    def wait(self, until: Callable[[], Any], seconds: float = 20) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.03)

    def complaints(self) -> list[str]:
        """Errors and warnings in the console since the last call: exceptions, and what the page's policy refused."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def dark(self, on: bool) -> None:
        """What the reader's system prefers."""
        value = "dark" if on else "light"
        features = {"features": [{"name": "prefers-color-scheme", "value": value}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, with nothing of the user's."""
    chrome, driver = _found("chromium", "chromium-browser", "google-chrome"), _found("chromedriver")
    if chrome is None or driver is None:
        pytest.skip("Chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses to run as root with its sandbox
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
