"""Few images are said where they are, and files that cannot be written are refused before the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reports.fakes import Fake
from underfire.errors import StoreError
from underfire.reports.exports import export
from underfire.reports.scores import check_place
from underfire.reports.summary import summary
from underfire.runs.cells import Cell


def test_one_small_run_makes_no_other_intervals_wide(tmp_path: Path) -> None:
    """Regression: the page of several runs said of all of them what holds for the small one."""
    small, large = Fake(count=5).account(tmp_path / "small"), Fake(count=40).account(tmp_path / "large")
    assert summary("t", [small, large]).caution == "Only 5 images in small: intervals there are wide."
    assert summary("t", [small]).caution == "Only 5 images: every interval is wide."
    assert summary("t", [large]).caution == ""


class EachReadByAll(Fake):
    @property
    def cells(self) -> list[Cell]:
        return [replace(cell, read_by=self.interpreters) for cell in super().cells]


def test_rows_of_latex_say_which_maps_were_attacked(tmp_path: Path) -> None:
    """Regression: one interpreter that reads several attacks had rows that nothing told apart."""
    folder = EachReadByAll(interpreters=("cam", "grad"), each=True).write(tmp_path / "run")
    lines = export(folder, "latex", tmp_path / "table.tex").read_text().splitlines()
    starts = [line.split(" & ")[:3] for line in lines if " & " in line]
    assert starts[0] == ["interpreter", "attack", "attacked"]
    rows = [tuple(each) for each in starts if "adv2" in each]
    assert sorted(rows) == sorted((name, "adv2", about) for name in ("cam", "grad") for about in ("cam", "grad"))
    plain = export(Fake().write(tmp_path / "one"), "latex", tmp_path / "one.tex").read_text()
    assert "attacked &" not in plain


def test_the_place_of_scores_is_made_and_checked(tmp_path: Path) -> None:
    """Regression: images were scored for hours, and then the folder of the file was not there."""
    check_place(tmp_path / "no" / "such" / "s.csv")
    assert (tmp_path / "no" / "such").is_dir()
    with pytest.raises(StoreError, match="is a folder; give the name of a file"):
        check_place(tmp_path / "no")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be written|is a file"):
        check_place(tmp_path / "file" / "s.csv")
