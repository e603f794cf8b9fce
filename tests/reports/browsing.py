"""A page in a window of headless Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium; skip the test, with the reason, if it or playwright is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip("no Chromium is installed: the page cannot be opened")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in a window. ``wrong`` collects errors, messages, dialogs and requests that leave the page's folder."""

    def __init__(self, browser: Any, address: str, width: int = 1400, scheme: str = "light", height: int = 900) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("a dialog"), dialog.dismiss()))
        self.page.on("request", self._requested)
        self.folder = address.rpartition("/")[0]
        self.page.goto(address)

    def _requested(self, request: Any) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((f"{self.folder}/", "data:")):
            self.wrong.append(f"request: {request.url}")

    def wait(self, expression: str, seconds: float = 10) -> None:
        """Wait until an expression is true. Playwright's own waiting needs ``eval``, which the page forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"still false after {seconds} seconds: {expression}"
            self.page.wait_for_timeout(50)

    def choose(self, name: str, value: str) -> None:
        """Choose a value of a box."""
        self.page.select_option(f"select[name={name}]", value)

    def tiles(self) -> list[str]:
        """List the ids of the images that the gallery shows, in its order."""
        found: list[str] = self.page.eval_on_selector_all(".open", "tiles => tiles.map(t => t.title)")
        return found

    def draw(self) -> None:
        """Wait for the first chart."""
        self.page.evaluate("document.getElementById('curves').scrollIntoView()")
        self.page.wait_for_selector(".plot .main-svg", timeout=30_000)

    def text(self, name: str) -> str:
        """Return a text of the opened image."""
        return str(self.page.text_content(f'[data-text="{name}"]'))
