"""The page of a transfer: its numbers are those of the transfer, and it can be made again from the folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import underfire as uf
from tests.reports.accessible import faults
from tests.reports.browsing import Opened, chromium
from tests.reports.parsed import Parsed
from tests.runs.runs import Command, Written
from tests.runs.test_transfer_command import OTHER
from underfire.errors import StoreError
from underfire.reports.transfer_page import write_transfer_page
from underfire.reports.words import percent
from underfire.runs.transferred import read_tables


@pytest.fixture(scope="module")
def place(full: Written, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a transfer to two classifiers and two interpreters."""
    folder = tmp_path_factory.mktemp("transfer")
    (folder / "other.py").write_text(OTHER)
    uf.transfer(full.folder, ["digits-resnet", f"{folder}/other.py:build"], ["grad", "cam"], folder / "out")
    return folder / "out"


def test_the_table_is_read_back_as_it_was(full: Written, place: Path, tmp_path: Path) -> None:
    found = uf.transfer(full.folder, interpreters=["grad", "cam"], folder=tmp_path / "again")
    assert read_tables(tmp_path / "again") == found.rows()
    for text in ("", "a,b\n1,2\n"):
        (tmp_path / "transfer.csv").write_text(text)
        with pytest.raises(StoreError, match=r"transfer.csv cannot be read"):
            read_tables(tmp_path)


def test_every_cell_is_on_the_page(place: Path, tmp_path: Path) -> None:
    rows = read_tables(place)
    text = write_transfer_page(rows, tmp_path / "page.html").read_text(encoding="utf-8")
    titles = re.findall(r'<h3 id="[^"]*"><bdi>(.*?)</bdi>', text)
    kinds = [title.split(",")[0] for title in titles]
    assert kinds == [*["Joint success", "Map distance"] * 2, "Target class reached", "Own class left"]
    body = text.split('id="matrix"')[1].split('id="numbers"')[0]
    for row in rows:
        if row["kind"] == "reseeded":
            continue
        joint, moved = row["joint_success"], row["map_l1"]
        low, high = (percent(joint[end]).removesuffix(" %") for end in ("low", "high"))
        assert f"{percent(joint['mean'])} ({low}–{high} %), n = {row['n']}" in body
        assert f"{moved['mean']:.3f} ({moved['low']:.3f}–{moved['high']:.3f}), n = {row['n']}" in body
    (table,) = re.findall(r"<tbody>(.*?)</tbody>", text.split('id="numbers"')[1], re.DOTALL)
    assert table.count("<tr") == len(rows)
    for row in rows:
        assert f">{row['map_l1']['mean']:.3f}<" in table
    held = [row["joint_success_p_holm"] for row in rows if row["joint_success_p_holm"] is not None]
    assert held
    assert all(f'data-value="{p}"' in table for p in held)


def test_the_commands_write_it(full: Written, tmp_path: Path, command: Command) -> None:
    run = Path(shutil.copytree(full.folder, tmp_path / "run"))
    ended = command("transfer", run, "--interpreter", "cam")
    assert ended.code == 0, ended.err
    page = tmp_path / "run-transfer" / "page.html"
    first = page.read_bytes()
    assert "page.html" in ended.out
    page.unlink()
    ended = command("report", page.parent)
    assert (ended.code, ended.err) == (0, "")
    assert page.read_bytes() == first
    ended = command("report", page.parent, "--by-class")
    assert (ended.code, "is a transfer" in ended.said) == (2, True)
    page.unlink()
    assert command("transfer", run, "--interpreter", "cam", "--resume", "--no-page").code == 0
    assert not page.exists()


def test_it_is_accessible(place: Path, tmp_path: Path) -> None:
    """Each heat map is a picture with a name and a description, and the same numbers as a table beside it."""
    rows = read_tables(place)
    text = write_transfer_page(rows, tmp_path / "page.html").read_text(encoding="utf-8")
    assert faults(text) == []
    parsed = Parsed(text)
    maps = [each for each in parsed.all("div") if each.get("role") == "img"]
    assert len(maps) == 6
    assert sum("chart" in each.get("class", "") for each in parsed.all("figure")) == len(maps)
    assert text.count("<summary>In numbers</summary>") == len(maps)


@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_without_an_error(place: Path, tmp_path: Path, width: int) -> None:
    address = write_transfer_page(read_tables(place), tmp_path / "page.html", "</title><b>T").as_uri()
    with chromium() as browser:
        opened = Opened(browser, address, width)
        opened.page.evaluate("document.getElementById('matrix').scrollIntoView()")
        opened.page.wait_for_selector(".plot .main-svg", timeout=30_000)
        opened.wait(f"document.documentElement.scrollWidth <= {width}")
        assert opened.page.text_content("h1") == "</title><b>T"
        assert opened.wrong == []
        opened.context.close()
