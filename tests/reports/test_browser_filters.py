"""The page in headless Chromium: boxes that nothing fits, and printing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browsing import Opened, chromium
from tests.reports.fakes import Fake
from underfire.reports.page import write_page

DRAWN = "[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('.main-svg').length > 0)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of two runs; only the first one has maps of grad."""
    folder = tmp_path_factory.mktemp("pages")
    one = Fake(interpreters=("cam", "grad"), trace=True)
    runs = [one.write(folder / "one"), Fake(count=5, attack="auto").write(folder / "two")]
    return write_page(runs, folder / "page.html").as_uri()


def notes(opened: Opened) -> dict[str, str]:
    """The words of sections of which nothing fits, by their ids."""
    found: dict[str, str] = opened.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.nothing:not([hidden]) span')]"
        ".map(e => [e.closest('section').id, e.textContent]))"
    )
    return found


def test_boxes_that_nothing_fits_say_so_and_can_be_cleared(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page, charts = opened.page, opened.page.locator(".chart:visible")
    every = charts.count()
    opened.choose("attack", "auto")
    assert notes(opened) == {}
    # A chart of another interpreter than the attack's has no curve left.
    assert page.locator(".chart[data-interpreter=grad]:visible").count() == 0
    assert 0 < charts.count() < every
    opened.choose("interpreter", "grad")
    said = notes(opened)
    assert {"numbers", "curves"} <= said.keys()
    assert set(said.values()) == {"Nothing here fits attack auto, interpreter grad."}
    assert page.text_content("#filters output") == "Nothing fits all of these."
    assert charts.count() == 0
    page.locator("#curves .nothing button").click()
    assert (notes(opened), page.text_content("#filters output"), charts.count()) == ({}, "", every)
    assert page.locator("#numbers tbody tr:visible").count() == 21
    assert opened.wrong == []
    opened.context.close()


def test_the_gallery_clears_its_own_boxes_and_those_of_the_page(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    assert page.locator(".gallery .nothing button:visible").count() == 0
    opened.choose("attack", "auto")
    page.fill(".gallery input[name=find]", "no such image")
    assert page.text_content(".gallery output") == "No image fits these filters."
    page.locator(".gallery .nothing button").click()
    assert page.text_content(".gallery output") == "21 of 21 shown"
    assert page.input_value("select[name=attack]") == ""
    assert page.input_value(".gallery input[name=find]") == ""
    assert page.locator(".gallery .nothing button:visible").count() == 0
    assert opened.wrong == []
    opened.context.close()


def test_all_charts_are_on_paper(browser: Any, address: str, tmp_path: Path) -> None:
    """Regression: they were there only if the reader had scrolled to one before. Otherwise, tables were printed."""
    opened = Opened(browser, address, 390)
    opened.wait("'Plotly' in window")  # without any scrolling
    assert not any(opened.page.evaluate(DRAWN))
    opened.page.evaluate(f"addEventListener('beforeprint', () => {{ window.drawn = {DRAWN}; }})")
    opened.page.pdf(path=tmp_path / "page.pdf")
    assert len(opened.page.evaluate("window.drawn")) == opened.page.locator(".plot").count() > 3
    assert all(opened.page.evaluate("window.drawn"))
    assert opened.page.locator(".chart details[open]").count() == 0
    assert opened.wrong == []
    opened.context.close()
