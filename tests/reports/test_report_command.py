"""``underfire report``: what it writes, where, and what it leaves alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tests.reports.fakes import Fake
from tests.runs.runs import Command, content, make_command
from underfire.reports.table import summary_table
from underfire.runs import Run


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return Fake(count=4).write(tmp_path / "one")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return Fake(count=4, attack="advedge").write(tmp_path / "two")


def changed(folder: Path, before: dict[str, bytes]) -> set[str]:
    """The files that are new or different; of the pictures of a page only their folder."""
    new = {name for name, data in content(folder).items() if before.get(name) != data}
    return {str(Path(name).parent) if "_files/" in name else name for name in new}


def test_page_and_figure_of_one_run_lie_in_its_folder(command: Command, one: Path, tmp_path: Path) -> None:
    before = content(tmp_path)
    ended = command("report", one)
    assert (ended.code, ended.err) == (0, "")
    assert changed(tmp_path, before) == {"one/page.html", "one/page_files", "one/figure.png"}
    assert set(before) <= set(content(tmp_path))
    with Image.open(one / "figure.png") as figure:
        assert figure.format == "PNG"
    assert "adv2 on toy" in (one / "page.html").read_text(encoding="utf-8")
    said = " ".join(ended.out.split())
    assert "Joint success" in said
    unwrapped = "".join(said.split())  # long paths are broken, at any letter
    assert f"Writtento{one / 'page.html'}and{one / 'figure.png'}" in unwrapped
    assert command("report", one).code == 0, "again, over the former ones"


def test_the_figure_has_the_name_of_the_page(
    command: Command, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: an unrelated figure.png in the current folder was replaced."""
    monkeypatch.chdir(tmp_path)
    for name in ("figure.png", "page.png"):
        (tmp_path / name).write_text("mine")
    before = content(tmp_path)
    assert command("report", one, "--out", "mine.html", "--title", "A title of mine").code == 0
    assert changed(tmp_path, before) == {"mine.html", "mine_files", "mine.png"}
    assert "<title>A title of mine" in (tmp_path / "mine.html").read_text(encoding="utf-8")
    before = content(tmp_path)
    assert command("report", one, "--out", "new/page.v2.html").code == 0
    assert changed(tmp_path, before) == {"new/page.v2.html", "new/page.v2_files", "new/page.v2.png"}


def test_several_runs_need_a_place(command: Command, one: Path, two: Path, tmp_path: Path) -> None:
    """Regression: their page replaced that of the first run."""
    before = content(tmp_path)
    ended = command("report", one, two)
    assert ended.code == 2
    assert "out is missing: a page of 2 runs belongs to none of them alone. Give --out" in ended.said
    assert content(tmp_path) == before
    ended = command("report", one, two, "--out", tmp_path / "both.html")
    assert (ended.code, ended.err) == (0, "")
    assert changed(tmp_path, before) == {"both.html", "both_files", "both.png"}
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "adv2 on toy" in page
    assert "advedge on toy" in page
    assert all(name in ended.out for name in ("adv2", "advedge"))


def test_a_page_is_no_picture(command: Command, one: Path, tmp_path: Path) -> None:
    before = content(tmp_path)
    ended = command("report", one, "--out", tmp_path / "mine.PNG")
    assert (ended.code, "the name of a picture; expected the page's, such as mine.html" in ended.said) == (2, True)
    assert content(tmp_path) == before


def test_the_tables_are_made_again_when_asked_for(command: Command, one: Path) -> None:
    names = ("results.parquet", "trace.parquet", "summary.json")
    before = {name: (one / name).read_bytes() for name in names}
    for name in names:
        (one / name).unlink()
    assert command("report", one).code == 0
    assert not any((one / name).exists() for name in names)
    assert command("report", one, "--tables").code == 0
    assert {name: (one / name).read_bytes() for name in names} == before
    assert json.loads((one / "summary.json").read_text()) == Run(one).summary()


def test_the_gallery_has_as_many_images_as_asked_for(command: Command, one: Path) -> None:
    found = []
    for count in (0, 3, 60):
        assert command("report", one, "--gallery", count).code == 0
        page = (one / "page.html").read_text(encoding="utf-8")
        found.append(len(re.findall('"thumb":', page)))
    assert found == [0, 3, 4]
    assert command("report", one, "--gallery", -1).code == 2


def test_what_is_no_finished_run_is_refused(command: Command, one: Path, tmp_path: Path) -> None:
    ended = command("report", tmp_path)
    assert (ended.code, "holds no finished run" in ended.said) == (2, True)
    record = json.loads((one / "run.json").read_text())
    (one / "run.json").write_text(json.dumps(record | {"finished": False}))
    ended = command("report", one)
    assert (ended.code, "is not finished" in ended.said) == (2, True)


def test_a_run_that_is_named_twice_counts_once(command: Command, one: Path, two: Path, tmp_path: Path) -> None:
    """Twice would also correct its p-values for comparisons that are the same."""
    once, twice = (tmp_path / name / "page.html" for name in ("once", "twice"))
    first = command("report", one, two, "--out", once)
    again = command("report", one, two, tmp_path / "two" / ".." / "one", one, "--out", twice)
    assert (first.code, again.code) == (0, 0)
    rows = [page.read_text(encoding="utf-8").count("<tr") for page in (once, twice)]
    assert rows[0] == rows[1]
    assert again.out.count("Joint success:") == first.out.count("Joint success:") == 2


def test_measures_of_the_users_own_are_printed_in_80_columns(command: Command, tmp_path: Path) -> None:
    """Regression: a measure that was asked for by --measure did not appear in the terminal."""
    names = tuple(f"speckle_{letter}" for letter in "abcdefg")
    ended = command("report", Fake(count=4, own=names).write(tmp_path / "run"))
    lines = ended.out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Written")) <= 80
    rows = [line.split() for line in lines if line.startswith("adv2 ")]
    assert [row[1:] for row in rows[1:]] == [["0.500"] * 5, ["0.500"] * 2], "five columns, and the other two"
    assert len([line for line in lines if line.startswith("other map")]) == 1
    said = " ".join(ended.out.split())
    assert all(f"speckle {letter}: speckle {letter}" in said for letter in "abcdefg")


def test_brackets_in_headings_of_measures_are_shown(tmp_path: Path) -> None:
    """Regression: ``[px]`` was taken for markup, and left out."""
    run = Run(Fake(count=4, own=("speckle",)).write(tmp_path / "run"))
    run.measures = [replace(each, heading="peak [px]") if each.name == "speckle" else each for each in run.measures]
    console = Console(width=80)
    with console.capture() as captured:
        console.print(summary_table(run))
    assert ["attack", "peak", "[px]"] in [line.split() for line in captured.get().splitlines()]
