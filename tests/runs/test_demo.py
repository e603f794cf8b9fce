"""The demos of photographs and of scenes, and where maps point: recomputed from what a run on scenes has written."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import underfire as uf
from tests.runs.runs import Command, Written, options, tables
from underfire.cli import main
from underfire.cli.demo import PHOTOS, SCENES, Demo, Part, photographs_installed
from underfire.data.imagenet import imagenet_class_names
from underfire.interpreters import MASK
from underfire.metrics import mass_inside, peak_inside

FOLDERS = {name.partition(":")[0]: folder for folder, part in SCENES.runs.items() for name in part.interpreters}
INTERPRETERS = tuple(FOLDERS)
WORDS = ("demo", "--scenes", "--count", "2")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo in a few steps, also of MASK's solutions, and in ``said.txt`` what it printed."""
    out, said, quick = tmp_path_factory.mktemp("demo") / "out", io.StringIO(), MASK.quick()
    runs = {name: replace(part, attack={"steps": (2, 4)}) for name, part in SCENES.runs.items()}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("COLUMNS", "80")
        patch.setattr("underfire.cli.demo.SCENES", replace(SCENES, runs=runs))
        patch.setattr(MASK, "quick", lambda: replace(quick, iterations=8))
        patch.setattr(sys, "argv", ["underfire", *WORDS, "--out", str(out)])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert not stopped.value.code
    (out.parent / "said.txt").write_text(said.getvalue())
    return out


def test_what_it_prints(demo: Path) -> None:
    lines = (demo.parent / "said.txt").read_text().splitlines()
    assert lines[0].startswith("Joint success: ")
    assert max(len(line) for line in lines) <= 80
    said = "".join(lines)
    for name in INTERPRETERS:
        summary = Written(demo / FOLDERS[name]).summary
        for attack in ("clean", "noise", "bim", "adv2"):
            group = summary["interpreters"][name]["attacks"][attack]
            shown = [
                f"{group[key]['mean']:.3f}" for key in ("joint_success", "success", "map_l1", "map_peak_inside", "ssim")
            ]
            assert [attack, *shown] in tables(lines)[name], (name, attack, lines)
    assert "page.html" in said
    assert "figure.png" in said


def test_page_and_picture(demo: Path) -> None:
    page = (demo / "page.html").read_text(encoding="utf-8")
    assert all(f'"{name}"' in page or f">{name}<" in page for name in INTERPRETERS)
    with Image.open(demo / "figure.png") as picture:
        assert picture.width > 600
        assert len(set(picture.convert("L").tobytes())) > 100


def test_the_masks_are_those_of_the_pictures(demo: Path) -> None:
    written = Written(demo / "scenes")
    masks = written.masks
    data = uf.data.open_data("scenes:test")
    ids = {row["image_id"] for row in written.rows}
    assert ids == set(masks)
    for image_id, mask in masks.items():
        index = int(image_id.split("/")[1])
        assert torch.equal(mask.bool(), data.masks((64, 64), [index])[0].bool())


def test_the_interpreters_share_one_control(demo: Path) -> None:
    """Four interpreters would make four of each; here the three of one run share them."""
    written = Written(demo / "scenes")
    assert list(written.keys) == ["clean", "bim", "adv2-cam", "adv2-grad", "adv2-rts", "noise"]
    for label in ("clean", "bim", "noise"):
        assert len(list((demo / "scenes" / "images" / label).glob("*.png"))) == 2


def test_where_maps_point(demo: Path) -> None:
    """The two columns again from the maps and masks that were written."""
    for name in INTERPRETERS:
        written = Written(demo / FOLDERS[name])
        masks = written.masks
        read = [row for row in written.rows if row["interpreter"] == name and row["correct_before"]]
        rows = [row for row in read if row["attack"] in {"clean", "adv2", "bim"}]
        assert len(rows) >= (3 if name == "mask" else 6)
        for row in rows:
            image_id = row["image_id"]
            maps = written.maps[f"{row['cell']}/{name}/{image_id}"].unsqueeze(0)
            mask = masks[image_id].bool().unsqueeze(0)
            assert row["map_mass_inside"] == pytest.approx(float(mass_inside(maps, mask)), abs=1e-6)
            assert bool(row["map_peak_inside"]) is bool(peak_inside(maps, mask))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A demo of scenes with two runs in a few steps, without the extra ``photos``."""
    runs = {
        "two": Part("scenes:test", "scenes-resnet", ("cam", "grad"), "16/255", {"steps": (1, 2)}),
        "one": Part("scenes:test", "scenes-resnet", ("cam",), "16/255", {"steps": (1, 2)}, 0.5),
    }
    monkeypatch.setattr("underfire.cli.demo.SCENES", Demo(runs, "a title", count=16, rows=3))
    monkeypatch.setattr("underfire.cli.demo.photographs_installed", lambda: False)
    return list(runs)


@pytest.mark.usefixtures("quick")
def test_an_earlier_demo_is_replaced_and_a_strange_folder_is_not(command: Command, tmp_path: Path) -> None:
    words = ("demo", "--count", "1", "--out", str(tmp_path / "out"))
    assert command(*words).code == 0
    assert command(*words).code == 0
    photos = tmp_path / "photos"
    (photos / "kitten").mkdir(parents=True)
    ended = command("demo", "--count", "1", "--out", str(photos))
    assert ended.code == 2
    assert "holds other files (kitten)" in " ".join(ended.err.split())
    assert [entry.name for entry in photos.iterdir()] == ["kitten"]
    strange = tmp_path / "strange"
    (strange / "scenes").mkdir(parents=True)
    (strange / "scenes" / "thesis.txt").write_text("years of work")
    ended = command("demo", "--count", "1", "--out", str(strange))
    assert ended.code == 2
    assert (strange / "scenes" / "thesis.txt").read_text() == "years of work"


@pytest.mark.usefixtures("quick")
def test_without_the_extra_the_demo_is_of_scenes_and_says_so(command: Command, tmp_path: Path) -> None:
    ended = command("demo", "--count", "1", "--out", str(tmp_path / "out"))
    assert "for photographs: pip install 'underfire[photos]'" in " ".join(ended.err.split())
    asked = command("demo", "--count", "1", "--scenes", "--out", str(tmp_path / "asked"))
    assert "photographs" not in asked.err
    for out in ("out", "asked"):
        assert Written(tmp_path / out / "two").run["configuration"]["data"] == "scenes:test"


def test_the_demo_of_photographs(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All five are classified correctly, and the page has names of classes instead of numbers."""
    if not photographs_installed():
        pytest.skip("the extra photos is not installed")
    part = replace(PHOTOS.runs["photos"], attack={"attack": "auto", "budget": 3})
    monkeypatch.setattr("underfire.cli.demo.PHOTOS", replace(PHOTOS, runs={"photos": part}))
    ended = command("demo", "--out", str(tmp_path), "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["photos"]["images"]["attacked"] == 5
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("tiger cat", "espresso", "tripod", "palace", "daisy"))
    targets = {row["target"] for row in Written(tmp_path / "photos").rows if row["attack"] == "auto"}
    assert all(imagenet_class_names()[target] in page for target in targets)
    assert max(row["linf"] for row in Written(tmp_path / "photos").rows) <= 4 / 255 + 1e-6


def test_json(command: Command, tmp_path: Path, quick: list[str]) -> None:
    ended = command("demo", "--count", "3", "--out", str(tmp_path), "--json")
    found = json.loads(ended.out)
    assert list(found) == quick
    assert [summary["images"]["attacked"] for summary in found.values()] == [3, 2]
    assert all(next(iter(summary)) == "joint_success" for summary in found.values())


def test_other_data_have_no_such_columns(command: Command, tmp_path: Path) -> None:
    assert command(*options(count=1, steps="1,1", out=tmp_path)).code == 0
    assert all(row["map_mass_inside"] is None and row["map_peak_inside"] is None for row in Written(tmp_path).rows)
    assert not Written(tmp_path).masks


def test_attack_ends_in_a_page_and_a_figure(command: Command, tmp_path: Path) -> None:
    ended = command(*options(count=1, steps="1,1", out=tmp_path, no_page=None))
    assert ended.code == 0
    assert "digits-resnet" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (tmp_path / "figure.png").exists()
    assert command(*options(count=1, steps="1,1", out=tmp_path, no_page=None, overwrite=True)).code == 0
