"""The gallery in headless Chromium: filters, the opened image, and the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browsing import Opened, chromium
from tests.reports.fakes import Fake
from underfire.reports.page import write_page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


class Outlying(Fake):
    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        return 0.7 if i == 3 and attack == self.attack else super().distance(i, attack, reader)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of eight images: three with joint success, three with the class only, two failures."""
    folder = tmp_path_factory.mktemp("gallery")
    run = Outlying(interpreters=("cam", "grad"), masks=True).write(folder / "run")
    return write_page([run], folder / "page.html").as_uri()


def ids(*numbers: int) -> list[str]:
    return [f"set/{number:03d}" for number in numbers for _ in "ab"]  # read by two interpreters


def test_filters_and_sorting(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    assert opened.tiles() == ids(*range(8))
    opened.choose("verdict", "failed")
    assert opened.tiles() == ids(3, 7)
    opened.choose("verdict", "joint")
    assert opened.tiles() == ids(0, 1, 2)
    opened.choose("verdict", "")
    opened.choose("outliers", "class")
    assert opened.tiles() == ids(4, 5, 6)
    opened.choose("outliers", "far")
    assert opened.tiles() == ids(3)
    opened.choose("outliers", "any")
    assert opened.tiles() == ids(3, 4, 5, 6)
    opened.choose("outliers", "")
    opened.choose("interpreter", "grad")
    opened.choose("sort", "-distance")
    assert opened.tiles() == ids(3, 7, 6, 5, 4, 2, 1, 0)[::2]
    opened.choose("sort", "distance")
    assert opened.tiles() == ids(0, 1, 2, 4, 5, 6, 7, 3)[::2]
    opened.page.fill(".gallery input[type=search]", "SET/00")
    opened.page.fill(".gallery input[type=search]", "set/005")
    assert opened.tiles() == ids(5)[::2]
    assert opened.wrong == []
    opened.context.close()


def test_the_keyboard_opens_moves_and_closes(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.focus(".gallery input[type=search]")
    page.keyboard.press("Tab")
    focus = "document.activeElement.dataset.place"
    assert page.evaluate(focus) == "0"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focus) == "14"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.locator("dialog:visible").count() == 1
    assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert opened.text("place") == "3 of 16"
    assert opened.text("name").startswith("set/001")
    page.keyboard.press("Escape")
    assert page.locator("dialog:visible").count() == 0
    assert page.evaluate(focus) == "2", "focus is on the image that was shown last"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    escape = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))"
    at_once = page.evaluate(f"(() => {{ {escape}; return {focus}; }})()")
    assert at_once == "3", "regression: the focus moved when the browser told of the closed dialog, some time later"
    assert opened.wrong == []
    opened.context.close()


def test_an_opened_image_shows_predictions_maps_and_a_slider(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.locator(".open").nth(8).click()
    assert (opened.text("label"), opened.text("after-class")) == ("bee", "cat")
    assert opened.text("outcome") == "class reached, map not kept"
    assert opened.text("distance") == "cam: map distance 0.100, limit 0.100"
    assert opened.text("after") == "probability of cat: 75\u00a0%"
    captions = page.eval_on_selector_all(".pictures figcaption", "all => all.map(c => c.textContent)")
    assert captions == [
        "clean",
        "adversarial",
        "change × 64",
        "benign map",
        "prediction only 0.300",
        "under adv2 0.100",
    ]
    assert page.eval_on_selector_all(".pictures img:first-child", "all => all.every(i => i.alt)")
    opacity = "[...document.querySelectorAll('.blend .heat')].map(i => Number(getComputedStyle(i).opacity))"
    assert page.evaluate(opacity) == [1, 0]
    page.focus("input[type=range]")
    page.keyboard.press("End")
    assert page.evaluate(opacity) == [0, 1]
    assert opened.text("place") == "9 of 16", "arrow keys and End move the slider, not the image"
    page.select_option("[data-do=sibling]", label="adv2, grad")
    assert opened.text("distance").startswith("grad: ")
    page.click("[data-do=close]")
    page.locator(".open").nth(6).click()
    assert opened.text("after-class") == "ant", "the class was not reached"
    assert opened.text("outcome") == "class not reached, unusually far"
    assert opened.wrong == []
    opened.context.close()


def test_pictures_are_loaded_when_they_come_near(browser: Any, tmp_path: Path) -> None:
    folder = Fake(count=200, size=(32, 32)).write(tmp_path / "run")
    opened = Opened(browser, write_page([folder], tmp_path / "page.html").as_uri(), 390, height=600)
    opened.page.wait_for_timeout(300)
    assert opened.page.locator(".open").count() <= 120
    assert len([url for url in opened.requests if "page_files/" in url]) < 20
    opened.page.focus(".open")
    opened.page.keyboard.press("End")
    assert opened.page.evaluate("document.activeElement.dataset.place") == "199"
    assert opened.wrong == []
    opened.context.close()


def test_an_image_leads_to_the_same_image_of_other_runs(browser: Any, tmp_path: Path) -> None:
    """Regression: an opened image named the attacks and interpreters of its own run alone."""
    runs = [Fake(count=3).write(tmp_path / "one"), Fake(count=2, attack="auto").write(tmp_path / "two")]
    other = Fake(count=1, ids=("another",)).write(tmp_path / "three")
    opened = Opened(browser, write_page([*runs, other], tmp_path / "page.html").as_uri())
    options = "[...document.querySelectorAll('[data-do=sibling] option')].map(o => o.textContent)"
    page = opened.page
    page.evaluate("document.querySelector('.open[title=\"set/001\"]').click()")
    assert page.evaluate(options) == ["adv2, cam, one", "auto, cam, two"]
    page.select_option("[data-do=sibling]", label="auto, cam, two")
    assert opened.text("name").startswith("set/001, auto")
    assert page.eval_on_selector("[data-do=sibling]", "e => e.selectedOptions[0].textContent") == "auto, cam, two"
    opened.wait("[...document.querySelectorAll('.viewer img[src]')].every(i => i.complete)")
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('.open[title=\"another\"]').click()")
    assert page.locator("[data-do=sibling]:visible").count() == 0
    assert opened.wrong == []
    opened.context.close()
