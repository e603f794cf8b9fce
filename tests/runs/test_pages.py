"""What pages, figures and tables say of runs: the numbers and maps that their files hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.former import as_before
from tests.runs.runs import Written, tables, write_digits
from underfire.drawing.pictures import fitted, overlay
from underfire.errors import UnderfireWarning
from underfire.reports.columns import as_text
from underfire.reports.figure import _maps
from underfire.reports.page import write_page
from underfire.reports.table import summary_table
from underfire.reports.thumbnails import map_picture
from underfire.runs import Run, run_attack
from underfire.system import System

Start = Callable[..., Written]


@pytest.fixture
def run(tmp_path: Path) -> Start:
    def start(**changes: Any) -> Written:
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        run_attack(small_config(**changes), folder)
        return Written(folder)

    return start


def page_of(folder: Path) -> str:
    return write_page([folder], folder / "page.html").read_text()


def table_of(folder: Path) -> str:
    console = Console(width=80, record=True)
    console.print(summary_table(Run(folder)))
    return " ".join(console.export_text().split())


def test_the_page_and_the_figure_speak_of_the_wanted_map(run: Start) -> None:
    """Nothing is kept if another map is wanted than the benign one."""
    written = run(count=4, steps=(5, 40), target_map="patch")
    page = page_of(written.folder)
    words = page[page.index("<body") :]
    assert "class reached, wanted map not reached" in words
    assert "A map counts as reached if it is less than half as far" in words
    for kept in ("map kept", "showed the attack", "notice nothing", "counts as kept"):
        assert kept not in words
    (part,) = Run(written.folder).comparisons
    captions = {_maps(part, part.case("cam", order), 32, titled=False).notes[-1] for order in range(4)}
    assert {caption.partition(", ")[2] for caption in captions} <= {"reached", "not reached", "failed"}


@pytest.mark.parametrize("rule", ["class", "patch", "file"])
def test_the_wanted_map_is_drawn(run: Start, tmp_path: Path, rule: str) -> None:
    np.save(tmp_path / "map.npy", np.eye(4))
    written = run(count=4, target_map=str(tmp_path / "map.npy") if rule == "file" else rule)
    assert '"wanted": "page_files/' in page_of(written.folder)
    drawn = [file.read_bytes() for file in (written.folder / "page_files").glob("*-wanted*")]
    (part,) = Run(written.folder).comparisons
    for order, row in enumerate(written.of("adv2")):
        case = part.case("cam", order)
        values = written.maps[f"wanted/cam/{row['image_id']}"].numpy()
        assert case.image_id == row["image_id"]
        assert map_picture(values)[0] in drawn
        unit = _maps(part, case, 32, titled=True)
        assert unit.heads == ("benign map", "wanted map", "prediction only", "under adv2")
        assert (unit.pictures[1] == overlay(fitted(part.image(case.rows["clean"]), 32), values)).all()
        assert unit.notes[:2] == (f"distance {case.rows['clean']['map_l1_target']:.3f}", "")


@pytest.mark.parametrize("lost", ["all", "one"])
def test_a_former_run_that_kept_no_wanted_map_is_drawn_without(run: Start, tmp_path: Path, lost: str) -> None:
    """Also if only a part of it kept none: rows of one figure have the same columns."""
    written = run(count=2, target_map="patch")
    folder = as_before(written, tmp_path / "former")
    first = written.of("adv2")[0]["image_id"]
    gone = "wanted/" if lost == "all" else f"wanted/cam/{first}"
    maps = load_file(folder / "maps.safetensors")
    save_file({key: value for key, value in maps.items() if not key.startswith(gone)}, folder / "maps.safetensors")
    (part,) = Run(folder).comparisons
    for order in range(2):
        unit = _maps(part, part.case("cam", order), 32, titled=True)
        assert unit.heads == ("benign map", "prediction only", "under adv2")
    assert '"wanted": "page_files/' not in page_of(folder)


def test_a_patch_as_target_map_in_the_table(run: Start) -> None:
    """The table shows the distance to the map that was wanted."""
    text = table_of(run(target_map="patch", count=3).folder)
    assert "showed the wanted cam map" in text
    assert "to target" in text


def test_readers_are_named(run: Start) -> None:
    page = page_of(run(interpreters=("grad", "cam"), readers=("gradcam",)).folder)
    assert "gradcam, not attacked" in page
    assert "grad and cam at once" in page


def test_baselines_are_named(run: Start) -> None:
    text = page_of(run(baseline="none").folder)
    assert "No attack on the prediction alone was run: there is nothing to compare with." in text
    pytest.importorskip("torchattacks")
    assert "torchattacks-pgd" in page_of(run(baseline="torchattacks:PGD").folder)


@pytest.mark.parametrize(("target", "verb"), [("benign", "kept the maps"), ("patch", "showed the wanted maps")])
def test_of_several_maps_the_table_begins_with_all(run: Start, target: str, verb: str) -> None:
    written = run(interpreters=("cam", "grad"), target_map=target)
    text = table_of(written.folder)
    assert f" of 2 images got another class from adv2 and {verb} of cam and grad at once (bim: " in text
    first, rest = text.split("Joint success: ")[1], text.split("Joint success: ")[2:]
    assert "at once" in first
    assert not any("at once" in line for line in rest)


@pytest.mark.parametrize(("attack", "control"), [("adv2", "bim"), ("bim", "pgd"), ("pgd", None)])
def test_a_joint_attack_is_called_so(run: Start, attack: str, control: str | None) -> None:
    """Regression: bim, with pgd beside it, was called the joint one."""
    written = run(attack=attack)
    assert written.summary["control"] == control
    said = "prediction alone stands beside the joint one" in table_of(written.folder)
    assert said is (attack == "adv2")


def test_the_table_names_what_was_left_out_and_cuts_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the name of an interpreter that is wider than what the numbers leave."""
    name = "x" * 30

    def long(classifier: uf.Classifier, *_: object, **__: object) -> System:
        return System(classifier, {name: uf.interpreters.CAM()})

    monkeypatch.setattr("underfire.runs.planning.System", long)
    table = write_digits(tmp_path / "data", range(7))  # labels 4 9 4 9 4 9 6
    (tmp_path / "data" / "pictures" / "000.png").write_bytes(b"not a picture")
    with pytest.warns(UnderfireWarning, match="cannot be read"):
        run_attack(small_config(data=str(table), target_class="9", count=None), tmp_path / "run")
    run = Run(tmp_path / "run")
    Console(width=80, file=sys.stdout).print(summary_table(run))
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 80
    words = " ".join(out.split())
    assert "of 3 images" in words
    assert "3 of those belong to the target class already" in words
    assert "1 could not be read" in words
    rows = tables(out.splitlines())[name]
    for attack, group in run.summary()["interpreters"][name]["attacks"].items():
        intervals = [group[column] for column in ("joint_success", "success", "map_l1", "map_iou", "ssim")]
        place = rows.index([attack, *(f"{interval['mean']:.3f}" for interval in intervals)])
        assert rows[place + 1] == [f"{interval['low']:.3f}-{interval['high']:.3f}" for interval in intervals]


def test_numbers_in_tables_are_whole() -> None:
    """And a small negative one is no minus nothing."""
    assert as_text({"mean": -1.0, "low": -1.0, "high": -0.0004, "n": 3}, 3) == ("-1.000", "-1.000", "0.000")
    assert as_text({"mean": None, "low": None, "high": None, "n": 0}, 3) is None
