"""The page and the figure of a run of a campaign, which is resumed when they were damaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reports.fakes import Fake
from tests.runs.damage import cut, delete, empty, flip
from tests.runs.runs import content
from underfire.errors import UnderfireWarning
from underfire.reports.campaign import write_run_page
from underfire.reports.page import write_page
from underfire.reports.sound import figure_is_sound, page_is_sound


def some_picture(folder: Path) -> Path:
    return sorted((folder / "page_files").iterdir())[2]


def figure(folder: Path) -> Path:
    return folder / "figure.png"


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        *((file, harm) for file in (some_picture, figure) for harm in (delete, empty, cut, flip)),
        (lambda folder: folder / "page_files", delete),
    ],
)
def test_a_damaged_file_of_a_page_is_named_and_made_again(
    tmp_path: Path, file: Callable[[Path], Path], harm: Callable[[Path], None]
) -> None:
    folder = Fake(count=2).write(tmp_path / "run")
    write_run_page(folder)
    whole = content(folder)
    harm(file(folder))
    with pytest.warns(UnderfireWarning, match=r"page_files/ or figure\.png are missing in part"):
        write_run_page(folder)
    assert content(folder) == whole


@pytest.mark.parametrize("harm", [empty, cut, flip])
def test_a_damaged_page_is_made_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    folder = Fake(count=2).write(tmp_path / "run")
    write_run_page(folder)
    whole = content(folder)
    harm(folder / "page.html")
    with pytest.warns(UnderfireWarning, match=r"page\.html"):
        write_run_page(folder)
    assert content(folder) == whole


@pytest.mark.parametrize("images", [0, 2])
def test_a_whole_page_stays_as_it_is(tmp_path: Path, images: int) -> None:
    """Also a page of the user's own making, with another title or without images."""
    folder = Fake(count=2).write(tmp_path / "run")
    write_run_page(folder)
    write_page([folder], folder / "page.html", title="mine", gallery=images)
    before = content(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_run_page(folder)
    assert content(folder) == before


def test_files_that_are_no_pages_and_no_figures_are_not_sound(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html></html>\n")
    (tmp_path / "figure.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert not page_is_sound(tmp_path / "page.html")
    assert not figure_is_sound(tmp_path / "figure.png")
