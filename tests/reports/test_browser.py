"""The page in headless Chromium: no errors, no requests, working filters, readable at all widths."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.fakes import Fake, change_summary
from underfire.reports.columns import ON_PAGE
from underfire.reports.page import write_page

EVIL = "</script><script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\">\u202e"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        pytest.skip("no Chromium on the path")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of two runs. One has two interpreters, names that hold HTML, masks and a trace."""
    folder = tmp_path_factory.mktemp("pages")
    names = (EVIL, "bee", "c" * 90)
    one = Fake(interpreters=("cam", "grad"), trace=True, masks=True, class_names=names, classifier=EVIL, ids=(EVIL,))
    runs = [one.write(folder / "one"), Fake(count=5, classifier="other", channels=1).write(folder / "two")]
    return write_page(runs, folder / "page.html").as_uri()


class Opened:
    """The page in a browser window. ``wrong`` collects errors, messages and requests."""

    def __init__(self, browser: Any, address: str, width: int = 1400, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._requested)
        self.address = address
        self.page.goto(address)

    def _requested(self, request: Any) -> None:
        if request.url != self.address and not request.url.startswith("data:"):
            self.wrong.append(f"request: {request.url}")

    def visible(self) -> list[tuple[str, int]]:
        """List (run, place in the data) of the visible cards, in the page's order."""
        script = "cards => cards.filter(c => c.offsetParent).map(c => [c.dataset.comparison, Number(c.dataset.order)])"
        return [(run, order) for run, order in self.page.eval_on_selector_all(".card", script)]

    def choose(self, name: str, value: str) -> None:
        self.page.select_option(f"select[name={name}]", value)

    def draw(self) -> None:
        self.page.evaluate("document.getElementById('curves').scrollIntoView()")
        self.page.wait_for_selector(".plot .main-svg", timeout=30_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_nothing_fails_or_leaves(browser: Any, address: str, scheme: str) -> None:
    opened = Opened(browser, address, 400, scheme)
    opened.draw()
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for width in (400, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        # Curves follow the window a little later.
        page.wait_for_function(f"document.documentElement.scrollWidth <= {width}", timeout=5000)
        assert page.locator(".plot .main-svg:visible").count() >= 5
    for kind, text, ground in page.evaluate(COLOURS):
        assert contrast(text, ground) >= 4.5, (kind, text, ground)
    curve = "document.querySelector('.js-line').style.stroke"
    ground = "getComputedStyle(document.body).backgroundColor"
    before, behind = page.evaluate(curve), page.evaluate(ground)
    names = {"light": "Dark", "dark": "Light"}
    assert page.text_content("#theme") == names.pop(scheme)
    page.focus("#theme")
    page.keyboard.press("Enter")
    page.wait_for_function(f"{curve} !== {before!r}")  # the colours of curves change with the scheme, too
    assert page.evaluate(ground) != behind
    assert [page.text_content("#theme")] == list(names.values())
    assert opened.wrong == []
    assert page.title() != "owned"
    opened.context.close()


def test_the_widest_table_fits_a_small_window(browser: Any, tmp_path: Path) -> None:
    """With all columns, and negative values wherever possible, nothing is cut off at 1200 pixels."""
    folder = Fake(count=3, keeps=False).write(tmp_path / "run")
    wide = {"mean": 0.625, "low": 0.555, "high": 0.666, "n": 3}

    def widen(summary: dict[str, Any]) -> None:
        for group in summary["interpreters"]["cam"]["attacks"].values():
            group |= dict.fromkeys(ON_PAGE, wide)
            group |= dict.fromkeys(("map_ssim", "map_spearman"), wide | {"mean": -0.021, "low": -0.075})

    change_summary(folder, widen)
    opened = Opened(browser, write_page([folder], tmp_path / "page.html").as_uri(), 1200)
    assert opened.page.locator("#numbers thead th").count() == 2 + len(ON_PAGE)
    widths = "e => [e.scrollWidth, e.clientWidth]"
    needed, there = opened.page.eval_on_selector("#numbers .scroll", widths)
    assert needed <= there
    opened.context.close()


# The colours of every kind of text, and of what lies behind it.
COLOURS = """() => {
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$|transparent/.test(c)) return c; }
    return "rgb(255, 255, 255)"; };
  const kinds = ["h1", ".lead", ".label", ".big", ".big .interval", ".beside .quiet", ".remarks li > span:last-child",
    "li.careful .sign", "li.good .sign", "caption", "thead th", "td", "td .interval", ".asked td",
    ".asked td .interval", ".asked th .interval", ".chart figcaption", "summary", "#filters label", "#shown",
    ".card h3", ".card .id",
    ".verdict", ".tile figcaption", "nav a", "button", "select", ".record dt", ".record dd"];
  return kinds.filter((k) => document.querySelector(k)).map((k) => {
    const e = document.querySelector(k);
    return [k, getComputedStyle(e).color, behind(e)]; });
}"""


def contrast(one: str, other: str) -> float:
    """Compute the contrast ratio of WCAG 2, from 1 to 21."""

    def luminance(colour: str) -> float:
        levels = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in levels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.01)


def test_filters_and_sorting(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    everything = {("0", i) for i in range(8)} | {("1", i) for i in range(5)}
    assert set(opened.visible()) == everything
    assert page.text_content("#shown") == "13 of 13 shown"
    opened.choose("verdict", "failed")
    assert set(opened.visible()) == {("0", 3), ("0", 7), ("1", 3)}
    opened.choose("verdict", "joint")
    assert set(opened.visible()) == {(run, i) for run in "01" for i in range(3)}
    opened.choose("verdict", "class")
    assert set(opened.visible()) == {("0", 4), ("0", 5), ("0", 6), ("1", 4)}
    opened.choose("interpreter", "grad")
    assert set(opened.visible()) == {("0", 4), ("0", 5), ("0", 6)}
    assert set(page.locator(".map-row:visible").evaluate_all("r => r.map(x => x.dataset.interpreter)")) == {"grad"}
    opened.choose("comparison", "1")
    assert opened.visible() == []
    assert page.text_content("#shown") == "No image fits these filters."
    opened.choose("interpreter", "")
    opened.choose("verdict", "")
    assert set(opened.visible()) == {("1", i) for i in range(5)}
    opened.choose("sort", "-distance")
    assert [i for _, i in opened.visible()] == [4, 3, 2, 1, 0]
    opened.choose("sort", "distance")
    assert [i for _, i in opened.visible()] == [0, 1, 2, 3, 4]
    opened.choose("comparison", "0")
    opened.choose("sort", "order")
    assert [i for _, i in opened.visible()] == list(range(8))
    assert opened.wrong == []
    opened.context.close()


def test_maps_lie_over_the_images_that_they_were_read_from(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    script = """cards => cards.every(c => [...c.querySelectorAll('.map-row')].every(r =>
        ['clean', 'control', 'attack'].every((name, i) =>
            r.querySelectorAll('.under')[i].src === c.querySelector(`[data-name=${name}]`).src)))"""
    assert opened.page.eval_on_selector_all(".card", script)
    sources = opened.page.eval_on_selector(".card", "c => [...c.querySelectorAll('[data-name]')].map(i => i.src)")
    assert len(set(sources)) == 4
    opened.context.close()


def test_the_keyboard_reaches_filters_and_the_switch(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "findings"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.name || document.activeElement.id || ''")
        if name and (not reached or reached[-1] != name):
            reached.append(name)
        if name == "verdict":
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            page.keyboard.press("ArrowDown")
            assert page.text_content("#shown") == "6 of 13 shown"
        if name == "sort":
            break
    assert reached[-4:] == ["verdict", "interpreter", "comparison", "sort"]
    opened.context.close()


def test_without_scripts_nothing_is_hidden(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#filters").is_hidden()
    assert page.locator(".card:visible").count() == 13
    assert page.locator(".lead:visible").count() == 2
    context.close()
