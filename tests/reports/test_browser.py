"""The page in headless Chromium: no errors, no requests elsewhere, working filters, readable at all widths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browsing import Opened, chromium
from tests.reports.fakes import Fake, change_summary
from underfire.reports.columns import ON_PAGE
from underfire.reports.page import write_page

EVIL = '</script><script>alert(1)</script>"\'><img src=x onerror="alert(2)">\u202e'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of two runs. One has two interpreters, names that hold HTML, masks and a trace."""
    folder = tmp_path_factory.mktemp("pages")
    names = (EVIL, "bee", "c" * 90)
    one = Fake(interpreters=("cam", "grad"), trace=True, masks=True, class_names=names, classifier=EVIL, ids=(EVIL,))
    runs = [one.write(folder / "one"), Fake(count=5, attack="auto", channels=1).write(folder / "two")]
    return write_page(runs, folder / "page.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_nothing_fails_or_leaves(browser: Any, address: str, scheme: str) -> None:
    opened = Opened(browser, address, 390, scheme)
    opened.draw()
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for width in (390, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        # Charts follow the window a little later.
        opened.wait(f"document.documentElement.scrollWidth <= {width}")
    for kind, text, ground in page.evaluate(COLOURS):
        assert contrast(text, ground) >= 4.5, (kind, text, ground)
    curve = "[...document.querySelectorAll('.js-line')].map(l => l.style.stroke).join()"
    ground = "getComputedStyle(document.body).backgroundColor"
    before, behind = page.evaluate(curve), page.evaluate(ground)
    names = {"light": "Dark", "dark": "Light"}
    assert page.text_content("#theme") == names.pop(scheme)
    page.focus("#theme")
    page.keyboard.press("Enter")
    opened.wait(f"{curve} !== {before!r}")  # the colours of curves change with the scheme, too
    assert page.evaluate(ground) != behind
    assert [page.text_content("#theme")] == list(names.values())
    for place in range(13):  # every image, its maps and its names
        page.evaluate(f"document.querySelectorAll('.open')[{place}].click()")
        opened.wait("[...document.querySelectorAll('.viewer img[src]')].every(i => i.complete)")
        assert page.evaluate("[...document.querySelectorAll('.viewer img[src]')].every(i => i.naturalWidth)")
        page.keyboard.press("Escape")
    assert opened.wrong == []
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
    assert opened.page.locator("#numbers thead th").count() == 3 + len(ON_PAGE)
    widths = "e => [e.scrollWidth, e.clientWidth]"
    needed, there = opened.page.eval_on_selector("#numbers .scroll", widths)
    assert needed <= there
    opened.context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_p_values_stand_apart_from_the_number_of_images(browser: Any, address: str, width: int) -> None:
    """Regression: 7 pixels were between them, so that they read as one number."""
    opened = Opened(browser, address, width)
    gaps = """() => [...document.querySelectorAll('#numbers tr.difference')].map(row => {
      const [p, n] = [...row.cells].slice(-2).map(cell => {
        const text = document.createRange(); text.selectNodeContents(cell); return text.getBoundingClientRect(); });
      return n.left - p.right; })"""
    assert min(opened.page.evaluate(gaps)) >= 14
    opened.context.close()


# The colours of every kind of text, and of what lies behind it.
COLOURS = """() => {
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$|transparent/.test(c)) return c; }
    return "rgb(255, 255, 255)"; };
  const kinds = ["h1", ".lead", ".hero figcaption", ".bars h2", ".bar.attack b", ".bar .quiet", ".bar.control b",
    ".caution", ".caution .sign", ".remarks li > span:last-child", "li.careful .sign", "li.good .sign", "thead th",
    "td", "td .interval", ".attack td", ".attack td .interval", ".chart figcaption", "summary", "#filters label",
    ".gallery output", ".open b", ".open .quiet", ".legend li", "nav a", "button", "select", ".record dt",
    ".record dd"];
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


def test_the_first_screen_holds_paragraph_picture_and_comparison(browser: Any, tmp_path: Path) -> None:
    folder = Fake(count=8, interpreters=("cam", "grad"), each=True, size=(64, 64)).write(tmp_path / "run")
    address = write_page([folder], tmp_path / "page.html").as_uri()
    bottom = "e => e.getBoundingClientRect().bottom"
    for width, height, last in ((1280, 800, ".bars"), (390, 844, ".bar-group:nth-of-type(1)")):
        opened = Opened(browser, address, width, height=height)
        for part in (".lead", ".hero", last):
            assert opened.page.eval_on_selector(part, bottom) <= height, (width, part)
        opened.context.close()


def test_the_page_filters_tables_charts_and_images(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    rows = page.locator("#numbers tbody tr:visible")
    every = rows.count()
    assert page.text_content(".gallery output") == "21 of 21 shown"
    opened.choose("interpreter", "grad")
    assert rows.count() == 7 < every
    assert page.locator(".chart[data-interpreter=cam]:visible").count() == 0
    assert page.locator(".chart[data-interpreter=grad]:visible").count() >= 2
    assert page.text_content(".gallery output") == "8 of 21 shown"
    opened.choose("attack", "auto")
    assert rows.count() == 0
    assert page.text_content(".gallery output") == "No image fits these filters."
    opened.choose("interpreter", "")
    assert page.text_content(".gallery output") == "5 of 21 shown"
    opened.choose("attack", "")
    opened.choose("run", "one")
    assert rows.count() == 14
    assert page.text_content(".gallery output") == "16 of 21 shown"
    opened.choose("classifier", "toy")
    assert rows.count() == 0
    assert opened.wrong == []
    opened.context.close()


def test_a_click_on_a_heading_sorts_the_table(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    shown = """() => [...document.querySelectorAll('#numbers tbody tr')]
      .map(r => r.cells[PLACE].dataset.value).filter(v => v !== undefined).map(Number)"""
    heading = page.locator("#numbers thead th", has_text="map L1")
    place = page.evaluate(
        "[...document.querySelectorAll('#numbers thead th')].findIndex(h => /map L1/.test(h.textContent))"
    )
    shown = shown.replace("PLACE", str(place))
    before = page.evaluate(shown)
    for order, expected in (
        ("descending", sorted(before, reverse=True)),
        ("ascending", sorted(before)),
        (None, before),
    ):
        heading.locator("button").press("Enter")
        assert heading.get_attribute("aria-sort") == order
        assert page.evaluate(shown) == expected
    page.fill("#numbers input", "prediction only")
    assert page.text_content("#numbers output") == "3 of 21 rows"
    assert opened.wrong == []
    opened.context.close()


def test_without_scripts_numbers_and_texts_are_there(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("form:visible").count() == 0
    assert page.locator(".lead:visible").count() == 1
    assert page.locator("#numbers tbody tr:visible").count() == 21
    assert page.locator("#numbers thead button").count() == 0
    context.close()
