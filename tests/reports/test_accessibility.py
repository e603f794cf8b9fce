"""Pages for people who use the keyboard or a screen reader: p-values, outliers, and the boxes of several runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.accessible import faults
from tests.reports.browsing import Opened, chromium
from tests.reports.fakes import Fake
from tests.reports.parsed import Parsed
from underfire.reports.page import write_page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two runs of different classifiers, with p-values, outliers and charts."""
    folder = tmp_path_factory.mktemp("accessible")
    one = Fake(interpreters=("cam", "grad"), trace=True, each=True).write(folder / "one")
    two = Fake(count=5, attack="auto", classifier="other").write(folder / "two")
    return write_page([one, two], folder / "page.html")


def test_nothing_is_without_a_name(page: Path) -> None:
    assert faults(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<h1>a</h1><img src="x">', "no alt text"),
        ('<h1>a</h1><img src="x" alt="">', "no alt text"),
        ("<h1>a</h1><h3>b</h3>", "level 3 follows one of level 1"),
        ("<h2>b</h2>", "0 headings of level 1"),
        ("<h1>a</h1><table><tr><th scope='col'>x</th></tr></table>", "1 tables and 0 captions"),
        ("<h1>a</h1><table><caption>c</caption><tr><th>x</th></tr></table>", "neither col nor row"),
        ("<h1>a</h1><select name='run'></select>", "has no label"),
        ("<h1>a</h1><div role='img'></div>", "role img has no name"),
        ("<h1>a</h1><div role='img' aria-labelledby='b'></div>", "no element with the id 'b'"),
        ("<h1 id='a'>a</h1><p id='a'></p>", "'a' is there 2 times"),
        ("<h1>a</h1><button></button>", "<button> has no text"),
        ("<h1>a</h1><p tabindex='3'></p>", "tabindex 3"),
        ("<html></html><h1>a</h1>", "language"),
    ],
)
def test_faults_are_found(text: str, said: str) -> None:
    (found,) = [each for each in faults(text) if said in each]
    assert found


def test_the_newer_columns_explain_themselves(page: Path) -> None:
    parsed = Parsed(page.read_text(encoding="utf-8"))
    texts = {text.strip() for tag, text in parsed.texts if tag == "th"}
    assert {"Holm p", "far maps", "half-mass area", "mass spread", "margin to next", "margin to target"} <= texts
    meanings = [each.get("title", "") for each in parsed.all("th")]
    assert sum("Holm's method" in meaning for meaning in meanings) == 1
    assert sum(meaning.startswith("rank correlation with the map distance") for meaning in meanings) == 4


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(page: Path) -> None:
    """Boxes, headings that sort, tables that scroll and charts' numbers; each shows that it has the focus."""
    with chromium() as browser:
        opened = Opened(browser, page.as_uri())
        window = opened.page
        for name in ("Classifier", "Run", "Attack", "Interpreter"):
            assert window.get_by_role("combobox", name=name, exact=True).count() == 1, name
        seen: list[str] = []
        places: list[int] = []
        for _ in range(200):
            window.keyboard.press("Tab")
            kind, name, place, outline = window.evaluate(FOCUSED)
            if not kind:
                break
            assert outline, (kind, name)
            assert name, kind
            seen.append(name)
            places.append(place)
        assert places == sorted(places)
        for name in ("Skip to the content", "Table: All attacks and controls", "Holm p", "far maps", "In numbers"):
            assert name in seen, name
        assert "Table: Outliers and what goes with them" in seen
        assert opened.wrong == []
        opened.context.close()


FOCUSED = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return ["", "", 0, true];
  const style = getComputedStyle(e);
  const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
  const label = e.labels && e.labels[0];
  const name = e.getAttribute("aria-label") || (label || e).textContent.trim() || e.title;
  return [e.tagName, name, [...document.querySelectorAll("*")].indexOf(e), shown];
}"""


def test_many_comparisons_leave_no_white_space_beside_the_picture(tmp_path: Path) -> None:
    runs = [Fake(interpreters=("cam", "grad"), each=True).write(tmp_path / name) for name in ("one", "two", "three")]
    address = write_page(runs, tmp_path / "page.html").as_uri()
    with chromium() as browser:
        for width in (400, 800, 1400):
            opened = Opened(browser, address, width)
            boxes = [opened.page.locator(name).first.bounding_box() for name in (".lead", ".hero", ".bars")]
            lead, hero, bars = boxes
            lowest = max(lead["y"] + lead["height"], hero["y"] + hero["height"])
            assert 0 <= bars["y"] - lowest < 40, "the bars follow the picture"
            groups = [each.bounding_box() for each in opened.page.locator(".bar-group").all()]
            assert len(groups) == 6
            assert len({round(each["y"]) for each in groups}) == {400: 6, 800: 3, 1400: 2}[width]
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
            opened.context.close()
