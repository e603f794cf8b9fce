"""The page without a browser: its numbers and pictures, and its safety from names that hold HTML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.reports.fakes import Fake
from tests.reports.parsed import gallery_data, page
from underfire.attacks.measures import MEASURES
from underfire.errors import InputError, StoreError
from underfire.reports.account import accounts_of
from underfire.reports.columns import page_columns
from underfire.reports.page import write_page
from underfire.runs import Run


def numbers_section(text: str) -> str:
    return text.split('id="numbers"')[1].split('id="curves"')[0]


def test_numbers_are_those_of_the_summary(tmp_path: Path) -> None:
    folder = Fake(interpreters=("cam", "grad")).write(tmp_path / "run")
    text, _ = page(tmp_path, folder)
    (account,) = accounts_of(Run(folder))
    columns = page_columns(account)
    assert [measure.name for measure in columns][:4] == ["joint_success", "success", "map_l1", "map_iou"]
    summary = json.loads((folder / "summary.json").read_text())
    (body,) = re.findall(r"<tbody>(.*?)</tbody>", numbers_section(text), re.DOTALL)
    every = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    assert len(every) == 14
    for name, rows in (("cam", every[:7]), ("grad", every[7:])):
        assert all(f'data-interpreter="{name}"' in row and f"<bdi>{name}</bdi>" in row for row in rows)
        for attack, row in zip(("adv2", "pgd", "clean", "noise"), [*rows[:2], *rows[3:5]], strict=True):
            group = summary["interpreters"][name]["attacks"][attack]
            cells = re.findall(r"<td(?: data-value=[^>]*)?>(.*?)</td>", row)
            assert f"<bdi>{attack}</bdi>" in row
            assert cells[-1] == "8"
            for measure, cell in zip(columns, cells[:-2], strict=True):  # then a p-value, and n
                value = group[measure.name]
                if value["mean"] is None:
                    assert "no value" in cell
                    continue
                expected = [f"{value[part]:.{measure.digits}f}" for part in ("mean", "low", "high")]
                assert re.findall(r"\d+\.\d+", cell) == expected, measure.name
        paired = summary["interpreters"][name]["against_prediction_only"]["paired_difference"]
        assert f">{paired['joint_success']['mean']:+.3f}<" in rows[2]
        assert f"−{-paired['map_l1']['mean']:.3f}" in rows[2]
        tested = summary["interpreters"][name]["against_prediction_only"]["p_values"]["joint_success"]
        assert f'>{tested["p_holm"]:.3f}<span class="interval">p = {tested["p"]:.3f}</span></td>' in rows[2]
        for key, row in zip(("other_map", "average_map"), rows[5:], strict=True):
            share = summary["chance"][name][key]
            shown = re.findall(r"\d\.\d+", re.sub(r'"[^"]*"', "", row))
            assert [float(value) for value in shown] == [round(share[part], 3) for part in ("mean", "low", "high")]
    bars = re.findall(r'class="bar attack">.*?<b>(.*?)</b>', text)
    assert bars == ["38\u00a0%"] * 3  # 3 of 8: both at once, then each
    assert re.findall(r'class="bar-group">\s*<h3><bdi>(.*?)</bdi>', text) == ["cam and grad at once", "cam", "grad"]


class Pointing(Fake):
    """Every map has five eighths of its mass on the object."""

    def mass_inside(self, i: int, attack: str) -> float | None:
        return 0.625


def test_mass_on_the_object_is_shown_if_the_run_has_it(tmp_path: Path) -> None:
    heading = MEASURES["map_mass_inside"].heading
    assert heading not in page(tmp_path, Fake(count=2).write(tmp_path / "without"))[0]
    text = page(tmp_path, Pointing(count=2).write(tmp_path / "with"))[0]
    assert heading in text
    assert text.count(">0.625<") == 4
    assert MEASURES["map_peak_inside"].heading not in text


def test_headings_are_those_of_the_table_of_measures(tmp_path: Path) -> None:
    text, _ = page(tmp_path, Fake(count=2, own=("speckle_size",)).write(tmp_path / "run"))
    heads = re.findall(r'<th scope="col" title="([^"]*)">(.*?)</th>', numbers_section(text))
    shown = {re.sub(r"&nbsp;<.*", "", head): meaning for meaning, head in heads}
    assert list(shown) == [
        *("joint", "success", "map L1", "map IoU", "map SSIM", "map rank", "image SSIM", "image L2", "confidence"),
        "speckle size",  # a user-defined measure gets a column automatically
        "Holm p",
    ]
    assert shown["map L1"] == "mean absolute difference from the benign map; lower is better for the attack"
    assert shown["image SSIM"] == "structural similarity to the clean image; higher is better for the attack"
    assert numbers_section(text).count(">0.500<") >= 4


class Ahead(Fake):
    """The attack keeps every map, and the control none."""

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        return 0.05 if attack == self.attack else super().distance(i, attack, reader)


def test_a_number_has_its_cautions_beside_it(tmp_path: Path) -> None:
    text, _ = page(tmp_path, Fake().write(tmp_path / "few"))
    first = text.split('class="bars"')[1].split("<details")[0]
    assert "Only 8 images: every interval is wide." in first
    assert "no clear difference from the prediction-only attack" in first
    assert first.count('class="caution careful"') == 2
    text, _ = page(tmp_path, Ahead(count=40).write(tmp_path / "many"))
    assert 'class="caution' not in text
    assert "difference to the control: +" in text


def test_the_first_screen_has_one_paragraph_one_picture_and_one_comparison(tmp_path: Path) -> None:
    text, parsed = page(tmp_path, Fake(count=8, interpreters=("cam", "grad"), each=True).write(tmp_path / "run"))
    first = text.split("<main")[1].split("<details")[0]
    assert first.count('class="lead"') == first.count('class="hero') - first.count("hero-tiles") == 1
    assert re.search(r"adv2 tried to change the class of 8 images, which toy had classified correctly", first)
    assert "Both held" not in first
    assert re.search(
        r"It did both on 38\u00a0%\u00a0\[\d+,\u00a0\d+\] \(cam\) and 38\u00a0%\u00a0\[\d+,\u00a0\d+\] \(grad\)\.",
        first,
    )
    assert "The attack on the prediction alone (pgd) did both on 0\u00a0%" in first
    assert "By chance, the map of another image would pass in" in first
    tiles = [image for image in parsed.all("img") if image.get("src", "").startswith("data:")]
    assert len(tiles) == 4
    assert all(tile["alt"] for tile in tiles)
    assert "A typical success: class reached, map kept. It is the middle one of 3 by map distance" in first
    assert text.index("<details") > text.index('class="bars"')


class Failing(Fake):
    def success(self, i: int, attack: str) -> bool:
        return False


def test_a_run_without_success_shows_a_failure(tmp_path: Path) -> None:
    text, _ = page(tmp_path, Failing(count=4).write(tmp_path / "run"))
    assert "A typical case: the class was not reached." in text
    assert "classified as cat still, not as ant" in text


def test_no_heading_repeats_itself(tmp_path: Path) -> None:
    """Regression: tables were called "adv2 on cam (cam), read by cam"."""
    folder = Fake(count=2).write(tmp_path / "cam")
    text, _ = page(tmp_path, folder)
    assert "<title>adv2 on toy, cam</title>" in text
    assert "(cam)" not in text.split("<main")[1].split("How far")[0].replace("adv2, cam)", "").replace(" (cam)", "", 1)
    text, _ = page(tmp_path, folder, Fake(count=2).write(tmp_path / "again"))
    named = re.findall(r'class="bar-group">\s*<h3><bdi>(.*?)</bdi>', text)
    assert named == ["cam, cam", "cam, again"]  # only their folders differ


def test_attacks_on_each_interpreter_are_separate_comparisons(tmp_path: Path) -> None:
    folder = Fake(count=6, interpreters=("cam", "grad"), each=True).write(tmp_path / "run")
    text, parsed = page(tmp_path, folder, gallery=5)
    assert re.findall(r'class="bar-group">\s*<h3><bdi>(.*?)</bdi>', text) == ["cam", "grad"]
    groups = [item["group"] for item in gallery_data(parsed)["items"]]
    assert [groups.count(number) for number in (0, 1)] == [3, 2]
    assert text.count('<details class="record"') == 1
    assert text.count("Only 6 images were attacked") == 1


def test_only_shown_images_and_maps_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from underfire.runs.cell_folder import CellFolder

    folder = Fake(count=40).write(tmp_path / "run")
    read: dict[str, set[object]] = {"map": set(), "image": set()}
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
    # The gallery's three, and the middle one of those with joint success, which the page begins with.
    assert read == {name: {"set/000", "set/020", "set/039", "set/001"} for name in read}


def test_a_share_and_its_interval_stay_on_one_line(tmp_path: Path) -> None:
    text, _ = page(tmp_path, Fake(count=2).write(tmp_path / "run"))
    assert "95\u00a0% of the noisy images" in text
    assert text.count("95\u00a0% of the noisy images stay below it") == 2, "of the remark and of the curve"


def test_the_gallery_is_a_spread_and_says_so(tmp_path: Path) -> None:
    folder = Fake(count=40).write(tmp_path / "run")
    text, parsed = page(tmp_path, folder, gallery=5)
    assert "5 of 40 images, spread evenly over the map distances" in text
    assert [image["order"] for image in gallery_data(parsed)["images"]] == [0, 10, 20, 29, 39]
    text, parsed = page(tmp_path, folder)
    assert "All 40 images." in text
    assert len(gallery_data(parsed)["items"]) == 40
    assert 'id="gallery"' not in page(tmp_path, folder, gallery=0)[0]
    assert not (tmp_path / "page_files").exists(), "pictures of the former page are removed"


def test_the_gallery_is_shared_between_runs(tmp_path: Path) -> None:
    folders = [Fake(count=6, classifier=name).write(tmp_path / name) for name in ("a", "b")]
    text, parsed = page(tmp_path, *folders, gallery=5)
    groups = [item["group"] for item in gallery_data(parsed)["items"]]
    assert [groups.count(number) for number in (0, 1)] == [3, 2]
    assert "<title>adv2 on a, b</title>" in text


def test_a_page_of_many_images_stays_small(tmp_path: Path) -> None:
    folder = Fake(count=150).write(tmp_path / "run")
    assert len(page(tmp_path, folder)[0]) < 2_300_000  # of which the library for charts takes 2,000,000
    assert not list(tmp_path.glob("page.html.*"))
    # Under 15 MB for 1,000 images.
    assert sum(file.stat().st_size for file in (tmp_path / "page_files").iterdir()) < 150 * 12_000


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs is empty; expected at least one folder"):
        write_page([], tmp_path / "page.html")
    with pytest.raises(InputError, match="gallery is -1; expected 0 images or more"):
        write_page([tmp_path], tmp_path / "page.html", gallery=-1)
    (tmp_path / "file").write_text("")
    folder = Fake(count=1).write(tmp_path / "run")
    with pytest.raises(StoreError, match=re.escape(f"page {tmp_path / 'file' / 'page.html'} cannot be written")):
        write_page([folder], tmp_path / "file" / "page.html")
