"""The page without a browser: its numbers and pictures, and its safety from names that hold HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.reports.fakes import Fake, change_summary
from underfire.attacks.measures import MEASURES
from underfire.errors import InputError, StoreError
from underfire.reports.account import accounts_of
from underfire.reports.columns import page_columns
from underfire.reports.page import write_page
from underfire.runs import Run

EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe &amp; {{ 7*7 }}"
VOID = {"meta", "img", "br", "link", "input", "path", "use"}


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and its texts with their elements. Unbalanced tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(out: Path, *runs: Path, **options: object) -> tuple[str, Parsed]:
    text = write_page(runs, out / "page.html", **options).read_text(encoding="utf-8")
    return text, Parsed(text)


def numbers_section(text: str) -> str:
    return text.split('id="numbers"')[1].split('id="curves"')[0]


def test_numbers_are_those_of_the_summary(tmp_path: Path) -> None:
    folder = Fake(interpreters=("cam", "grad")).write(tmp_path / "run")
    text, _ = page(tmp_path, folder)
    (account,) = accounts_of(Run(folder))
    columns = page_columns(account)
    assert [measure.name for measure in columns][:4] == ["joint_success", "success", "map_l1", "map_iou"]
    summary = json.loads((folder / "summary.json").read_text())
    bodies = re.findall(r"<tbody>(.*?)</tbody>", numbers_section(text), re.DOTALL)
    assert len(bodies) == 2
    for name, body in zip(("cam", "grad"), bodies, strict=True):
        rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
        assert len(rows) == 7
        for attack, row in zip(("clean", "noise", "pgd", "adv2"), rows, strict=False):
            group = summary["interpreters"][name]["attacks"][attack]
            cells = re.findall(r"<td>(.*?)</td>", row)
            assert f"<bdi>{attack}</bdi>" in row
            assert cells[-1] == "8"
            for measure, cell in zip(columns, cells[:-1], strict=True):
                value = group[measure.name]
                if value["mean"] is None:
                    assert "no value" in cell
                    continue
                expected = [f"{value[part]:.{measure.digits}f}" for part in ("mean", "low", "high")]
                assert re.findall(r"\d+\.\d+", cell) == expected, measure.name
        paired = summary["interpreters"][name]["against_prediction_only"]["paired_difference"]
        assert f"<td>{paired['joint_success']['mean']:+.3f}<" in rows[6]
        assert f"−{-paired['map_l1']['mean']:.3f}" in rows[6]
        for key, row in zip(("other_map", "average_map"), rows[4:6], strict=True):
            share = summary["chance"][name][key]
            assert [float(value) for value in re.findall(r"\d\.\d+", row)] == [
                round(share[part], 3) for part in ("mean", "low", "high")
            ]
    shown = re.findall(r'class="big">(\d+)<', text)
    assert shown == ["38", "38", "38"]  # 3 of 8: both at once, then each
    assert text.count("difference: +38 points") == 3
    assert re.findall(r'class="label">joint success, <bdi>(.*?)</bdi>', text) == ["cam and grad at once", "cam", "grad"]


class Pointing(Fake):
    """Every map has five eighths of its mass on the object."""

    def mass_inside(self, i: int, attack: str) -> float | None:
        return 0.625


def test_mass_on_the_object_is_shown_if_the_run_has_it(tmp_path: Path) -> None:
    heading = MEASURES["map_mass_inside"].heading
    assert heading not in page(tmp_path, Fake(count=2).write(tmp_path / "without"))[0]
    text = page(tmp_path, Pointing(count=2).write(tmp_path / "with"))[0]
    assert heading in text
    assert text.count("<td>0.625<") == 4
    assert MEASURES["map_peak_inside"].heading not in text


def test_headings_are_those_of_the_table_of_measures(tmp_path: Path) -> None:
    text, _ = page(tmp_path, Fake(count=2, own=("speckle_size",)).write(tmp_path / "run"))
    heads = re.findall(r'<th scope="col" title="([^"]*)">(.*?)</th>', numbers_section(text))
    shown = {re.sub(r"&nbsp;<.*", "", head): meaning for meaning, head in heads}
    assert list(shown) == [
        *("joint", "success", "map L1", "map IoU", "map SSIM", "map rank", "image SSIM", "image L2", "confidence"),
        "speckle size",  # a user-defined measure gets a column automatically
    ]
    assert shown["map L1"] == "mean absolute difference from the benign map; lower is better for the attack"
    assert shown["image SSIM"] == "structural similarity to the clean image; higher is better for the attack"
    assert numbers_section(text).count("<td>0.500<") >= 4


def test_a_headline_has_its_cautions_beside_it(tmp_path: Path) -> None:
    text, _ = page(tmp_path, Fake().write(tmp_path / "few"))
    (headline,) = re.findall(r'<div class="headline">.*?</div>', text, re.DOTALL)
    assert "few images; no clear difference from the prediction-only attack" in headline
    folder = Fake(count=40).write(tmp_path / "many")
    text, _ = page(tmp_path, folder)
    assert 'class="caution"' in text
    assert "few images" not in text

    def ahead(summary: dict[str, Any]) -> None:
        against = summary["interpreters"]["cam"]["against_prediction_only"]
        against["paired_difference"]["joint_success"]["low"] = 0.1

    change_summary(folder, ahead)
    assert 'class="caution"' not in page(tmp_path, folder)[0]


def test_no_heading_repeats_itself(tmp_path: Path) -> None:
    """Regression: tables were called "adv2 on cam (cam), read by cam"."""
    folder = Fake(count=2).write(tmp_path / "cam")
    text, _ = page(tmp_path, folder)
    assert "<title>adv2 on toy, cam</title>" in text
    assert re.findall(r"<caption><span><bdi>(.*?)</bdi>", text) == ["Maps of cam"]
    assert "(cam)" not in text
    text, _ = page(tmp_path, folder, Fake(count=2).write(tmp_path / "again"))
    named = re.findall(r'comparison-name"><bdi>(.*?)<', text)
    assert named == ["adv2 on toy, cam (cam)", "adv2 on toy, cam (again)"]  # only their folders differ


def test_attacks_on_each_interpreter_are_separate_comparisons(tmp_path: Path) -> None:
    folder = Fake(count=6, interpreters=("cam", "grad"), each=True).write(tmp_path / "run")
    text, _ = page(tmp_path, folder, gallery=5)
    assert re.findall(r'comparison-name"><bdi>(.*?)<', text) == ["adv2 on toy, cam", "adv2 on toy, grad"]
    assert [text.count(f'class="card pixels" data-comparison="{number}"') for number in (0, 1)] == [3, 2]
    assert re.findall(r"<caption><span><bdi>(.*?)</bdi>", numbers_section(text)) == ["Maps of cam", "Maps of grad"]
    assert text.count('<dl class="record">') == 1
    assert text.count("Only 6 images were attacked") == 1


def test_only_shown_images_and_maps_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from underfire.runs.cell_folder import CellFolder

    folder = Fake(count=40).write(tmp_path / "run")
    read: dict[str, set[object]] = {"map": set(), "row": set(), "image": set()}
    for name, seen in read.items():
        original = getattr(CellFolder, name)

        def spied(self: Any, *arguments: Any, seen: set[object] = seen, original: Any = original) -> Any:
            last = arguments[-1]
            if arguments[0] == "clean" and len(arguments) == 3:  # the chance control compares all benign maps
                return original(self, *arguments)
            seen.add(last["image_id"] if isinstance(last, dict) else last)
            return original(self, *arguments)

        monkeypatch.setattr(CellFolder, name, spied)
    page(tmp_path, folder, gallery=3)
    assert read == {name: {"set/000", "set/020", "set/039"} for name in read}


def test_a_share_and_its_interval_stay_on_one_line(tmp_path: Path) -> None:
    text, _ = page(tmp_path, Fake(count=2).write(tmp_path / "run"))
    assert "95\u00a0% of the noisy images" in text
    assert text.count("95\u00a0% of the noisy images stay below it") == 2, "of the remark and of the curve"


def test_nothing_is_loaded_and_only_our_scripts_run(tmp_path: Path) -> None:
    _, parsed = page(tmp_path, Fake(count=2).write(tmp_path / "run"))
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name, "data:")
            assert value.startswith(("data:", "#")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    assert not parsed.all("link")
    policy = next(m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    scripts = [text for tag, text in parsed.texts if tag == "script"]
    assert len(scripts) == len(parsed.all("script")) == 3
    digest = base64.b64encode(hashlib.sha256(scripts[-1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]
    assert "url(" not in "".join(text for tag, text in parsed.texts if tag == "style")


def test_names_stay_text(tmp_path: Path) -> None:
    fake = Fake(count=3, ids=(EVIL,), class_names=(EVIL, "lone\udce9", "cat"), classifier=EVIL, trace=True)
    folder = fake.write(tmp_path / "run", **{EVIL: EVIL})
    text, parsed = page(tmp_path, folder, title=EVIL)
    assert len(parsed.all("script")) == 3
    assert not [image for image in parsed.all("img") if image.get("src") == "x"]
    assert "alert(1)</script>" not in text
    assert "\u202e" not in text
    shown = EVIL.replace("\u202e", "\\u202e")
    assert [t for tag, t in parsed.texts if tag == "title"] == [shown]
    assert sum(t == shown for tag, t in parsed.texts if tag == "bdi") >= 3
    assert any(shown in image["alt"] for image in parsed.all("img"))
    data = next(t for tag, t in parsed.texts if tag == "script" and t.startswith("["))
    assert json.loads(data)[0]["layout"]["xaxis"]["title"]["text"] == "threshold on map distance"


def test_every_picture_has_words_and_every_table_a_caption(tmp_path: Path) -> None:
    text, parsed = page(tmp_path, Fake(count=3, trace=True, masks=True).write(tmp_path / "run"))
    for image in parsed.all("img"):
        assert "alt" in image
        assert image["alt"] or "data-from" in image or "hidden" in image
    assert text.count("<table") == text.count("<caption")
    assert all(cell.get("scope") in ("col", "row") for cell in parsed.all("th"))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in parsed.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
        if tag == "use":
            assert attributes["href"][1:] in ids
    assert len(parsed.all("use")) == 9  # three maps on each of three cards
    assert text.count("<select") == text.count("<label")


def test_the_gallery_is_a_spread_and_says_so(tmp_path: Path) -> None:
    folder = Fake(count=40).write(tmp_path / "run")
    text, _ = page(tmp_path, folder, gallery=5)
    assert text.count('<article class="card') == 5
    assert "5 of 40 images, spread evenly over the map distances" in text
    assert [int(order) for order in re.findall(r'data-order="(\d+)"', text)] == [0, 10, 20, 29, 39]
    assert "All 40 images." in page(tmp_path, folder)[0]
    assert page(tmp_path, folder, gallery=0)[0].count('<article class="card') == 0


def test_the_gallery_is_shared_between_runs(tmp_path: Path) -> None:
    folders = [Fake(count=6, classifier=name).write(tmp_path / name) for name in ("a", "b")]
    text, _ = page(tmp_path, *folders, gallery=5)
    assert [text.count(f'class="card pixels" data-comparison="{run}"') for run in (0, 1)] == [3, 2]
    assert "<title>adv2 on a, b</title>" in text


def test_a_page_of_many_images_stays_small(tmp_path: Path) -> None:
    folder = Fake(count=150).write(tmp_path / "run")
    assert len(page(tmp_path, folder)[0]) < 2_600_000  # of which the library for curves takes 2,000,000
    assert not (tmp_path / "page.html.part").exists()


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs is empty; expected at least one folder"):
        write_page([], tmp_path / "page.html")
    with pytest.raises(InputError, match="gallery is -1; expected 0 images or more"):
        write_page([tmp_path], tmp_path / "page.html", gallery=-1)
    (tmp_path / "file").write_text("")
    folder = Fake(count=1).write(tmp_path / "run")
    with pytest.raises(StoreError, match=re.escape(f"page {tmp_path / 'file' / 'page.html'} cannot be written")):
        write_page([folder], tmp_path / "file" / "page.html")
