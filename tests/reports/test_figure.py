"""The figure: its layout, and the images in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reports.fakes import NOISE, Fake
from underfire.drawing.pictures import colour, difference, fitted, overlay
from underfire.drawing.sheet import GAP, MARGIN, PAPER, UNIT_GAP, Band, Text, Unit, sheet
from underfire.errors import InputError, StoreError
from underfire.reports.account import open_accounts
from underfire.reports.figure import _group, map_picture, write_figure
from underfire.reports.outline import draw_outline
from underfire.reports.words import percent, points


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.array(image.convert("RGB"))


def places(sheet: np.ndarray, picture: np.ndarray) -> list[tuple[int, int]]:
    """Find all places (x, y) at which the sheet equals ``picture``, pixel by pixel."""
    height, width = picture.shape[:2]
    found = np.ones((sheet.shape[0] - height + 1, sheet.shape[1] - width + 1), bool)
    for y, x in ((0, 0), (height - 1, width - 1), (height // 2, width // 3), (0, width - 1)):
        found &= (sheet[y : y + found.shape[0], x : x + found.shape[1]] == picture[y, x]).all(-1)
    spots = [(int(x), int(y)) for y, x in np.argwhere(found)]
    return [(x, y) for x, y in spots if (sheet[y : y + height, x : x + width] == picture).all()]


@pytest.mark.parametrize(("channels", "masks"), [(3, False), (1, True)])
def test_a_row_is_clean_adversarial_difference_and_maps(tmp_path: Path, channels: int, masks: bool) -> None:
    fake = Fake(count=1, channels=channels, masks=masks)
    run = fake.write(tmp_path / "run")
    shown = pixels(write_figure([run], tmp_path / "new" / "figure.png"))
    images = {attack: fake.pixels(0, attack) for attack in ("clean", "pgd", "adv2")}
    expected = [images["clean"], images["adv2"], difference(images["clean"], images["adv2"])]
    cells = [fitted(colour(picture), 128) for picture in expected]
    for attack in ("clean", "pgd", "adv2"):  # each over the image that it was read from
        cell = overlay(fitted(colour(images[attack]), 128), fake.map(0, attack))
        cells.append(draw_outline(cell, fake.mask()) if masks else cell)
    found = [places(shown, cell) for cell in cells]
    assert [len(spots) for spots in found] == [1] * 6
    xs, ys = zip(*(spots[0] for spots in found), strict=True)
    width = 120  # 12 pixels, ten times
    assert list(xs) == [MARGIN + k * (width + GAP) + (k > 2) * (UNIT_GAP - GAP) for k in range(6)]
    assert len(set(ys)) == 1


def test_the_limit_for_kept_maps_is_given(tmp_path: Path) -> None:
    """The figure gives the limit on the map distance, which is large if noise moves maps far."""
    account = Fake(count=4, interpreters=("cam", "grad")).account(tmp_path / "run")
    said = [part.text for part in _group([account], 1, 0) if isinstance(part, Text)]
    limits = [account.part.mean_limit(name) for name in ("cam", "grad")]
    assert limits == pytest.approx([NOISE] * 2)
    few = "too few images to test its lead"
    for name, limit in zip(("cam", "grad"), limits, strict=True):
        beginning = f"{name}: 75 % [30, 95] (distance below {limit:.3f}), prediction only 0 % [0, 49] - {few}"
        assert sum(text.startswith(beginning) for text in said) == 1
    assert sum(text.startswith("cam and grad at once: 75 % [30, 95], prediction only") for text in said) == 1
    assert "Class reached and map kept, of 4 images:" in said


def test_the_gap_and_chance_are_below_the_pictures(tmp_path: Path) -> None:
    """Regression: from the figure alone, nobody could tell what joint success must be compared with."""
    accounts = [Fake(count=4, interpreters=("cam", "grad")).account(tmp_path / "run")]
    accounts.append(Fake(count=1, attack="pgd").account(tmp_path / "alone"))
    said = [[part.text for part in _group([account], 1, 0) if isinstance(part, Text)] for account in accounts]
    for name in ("cam", "grad"):
        gap, other = accounts[0].lead(name), accounts[0].chance(name)["other_map"]
        assert gap is not None
        assert (
            f"{name}: {points(gap)} more than prediction only; by chance, {percent(other['mean'])} of other images' "
            "maps and 0 % of average maps would pass."
        ) in said[0]
    assert points(gap).startswith("+75 points")
    assert "cam: nothing to compare with." in said[1], "one image, and no other attack"


def test_rows_are_spread_over_the_distances(tmp_path: Path) -> None:
    fake = Fake(count=9)
    shown = pixels(write_figure([fake.write(tmp_path / "run")], tmp_path / "figure.png", rows=3))
    rows = {}
    for i in range(9):
        spots = places(shown, fitted(fake.pixels(i, "clean"), 128))
        if spots:
            rows[i] = spots[0][1]
    assert list(rows) == [0, 4, 8]
    assert rows[0] < rows[4] < rows[8]


def test_runs_on_the_same_images_share_rows_and_others_follow(tmp_path: Path) -> None:
    fakes = [Fake(count=2, interpreters=(name,)) for name in ("cam", "grad")]
    same = [fake.write(tmp_path / fake.interpreters[0]) for fake in fakes]
    other = Fake(count=2, classifier="other", ids=("x", "y"), channels=1)
    both = pixels(write_figure(same, tmp_path / "both.png", rows=1))
    (account, _) = open_accounts(same)
    cell = map_picture(account.part, account.part.case("cam", 1), "attack", 96)
    (first, top), (second, beside) = places(both, cell)  # the same map under both names
    assert top == beside
    assert second - first == 3 * 96 + 2 * GAP + UNIT_GAP
    three = pixels(write_figure([*same, other.write(tmp_path / "other")], tmp_path / "three.png", rows=1))
    assert places(three, cell) == [(first, top), (second, top)]
    assert places(three, fitted(colour(other.pixels(1, "clean")), 128))[0][1] > top + 96


def test_a_run_of_the_control_has_two_maps(tmp_path: Path) -> None:
    fake = Fake(count=1, attack="pgd")
    shown = pixels(write_figure([fake.write(tmp_path / "run")], tmp_path / "figure.png"))
    maps = [overlay(fitted(fake.pixels(0, attack), 128), fake.map(0, attack)) for attack in ("clean", "pgd")]
    assert [len(places(shown, cell)) for cell in maps] == [1, 1]
    assert shown.shape[1] == 2 * MARGIN + 5 * 120 + 3 * GAP + UNIT_GAP


def test_attacks_on_each_interpreter_share_rows(tmp_path: Path) -> None:
    fake = Fake(count=2, interpreters=("cam", "grad"), each=True)
    shown = pixels(write_figure([fake.write(tmp_path / "run")], tmp_path / "figure.png", rows=1))
    cell = overlay(fitted(fake.pixels(1, "adv2"), 96), fake.map(1, "adv2"))
    (first, top), (second, beside) = places(shown, cell)
    assert top == beside
    assert second - first == 3 * 96 + 2 * GAP + UNIT_GAP


def test_a_sheet_is_as_large_as_its_content() -> None:
    red = np.zeros((30, 50, 3), np.uint8)
    red[..., 0] = 255
    image = np.array(sheet([Text("A line that is wrapped, since it is long. " * 5), Band((Unit((red, red)),))], 200))
    assert image.shape[1] == 200 + 2 * MARGIN
    (x, y), (x2, _) = places(image, red)
    assert (x, x2) == (MARGIN, MARGIN + 50 + GAP)
    assert image.shape[0] == y + 30 + 3 + MARGIN  # nothing is cut off, and there is no empty space
    outside = np.concatenate([image[:, :MARGIN], image[:, -MARGIN:]], axis=1)
    assert (outside == PAPER).all()


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs is empty"):
        write_figure([], tmp_path / "figure.png")
    with pytest.raises(InputError, match="rows is 0; expected at least 1"):
        write_figure([tmp_path], tmp_path / "figure.png", rows=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=re.escape(f"figure {tmp_path / 'file' / 'f.png'} cannot be written")):
        write_figure([Fake(count=1).write(tmp_path / "run")], tmp_path / "file" / "f.png")
