"""Heat colours, overlays, differences, enlargements and outlines, against closed forms."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.color import rgb2lab

from underfire.drawing.pictures import (
    ANCHORS,
    difference,
    fitted,
    grey,
    heat,
    opacity,
    overlay,
    resized,
    veil,
)
from underfire.errors import InputError
from underfire.reports.outline import draw_outline, outline_path

STEPS = np.linspace(0, 1, 101)
# Viénot, Brettel and Mollon 1999: what is left of linear RGB for a dichromat.
DEUTAN = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
PROTAN = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])


def test_heat_hits_its_anchors_and_is_linear_between_them() -> None:
    assert heat(np.linspace(0, 1, len(ANCHORS))).tolist() == [list(anchor) for anchor in ANCHORS]
    middle = (np.array(ANCHORS[0]) + np.array(ANCHORS[1])) / 2
    assert np.abs(heat(np.array(0.5 / (len(ANCHORS) - 1))) - middle).max() <= 0.5
    assert heat(np.array([-1.0, 2.0])).tolist() == [list(ANCHORS[0]), list(ANCHORS[-1])]
    with pytest.raises(InputError, match="the map holds NaN"):
        heat(np.array([np.nan]))


@pytest.mark.parametrize("seen_by", [np.eye(3), DEUTAN, PROTAN], ids=["all", "deutan", "protan"])
def test_lightness_orders_the_colours_for_everyone(seen_by: np.ndarray) -> None:
    linear = (heat(STEPS) / 255.0) ** 2.2 @ seen_by.T
    lightness = rgb2lab((linear.clip(0, 1) ** (1 / 2.2))[None])[0][:, 0]
    rise = np.diff(lightness)
    assert (rise > 0.3).all()
    assert rise.max() < 3 * rise.mean()  # no jump that would draw a contour which is not there


def test_an_overlay_is_grey_where_the_map_is_zero_and_heat_where_it_is_one() -> None:
    image = np.array([[[200, 40, 90], [10, 250, 30]]], dtype=np.uint8)
    nothing = overlay(image, np.zeros((1, 2)))
    assert np.abs(nothing - 0.8 * grey(image)[..., None]).max() <= 0.5
    full = overlay(image, np.ones((1, 2)))
    expected = 0.85 * np.array(ANCHORS[-1]) + 0.15 * 0.8 * grey(image)[..., None]
    assert np.abs(full - expected).max() <= 0.5
    assert (overlay(grey(image), np.ones((1, 2))) == full).all()  # one channel is the same picture


def test_a_veil_over_grey_is_the_overlay() -> None:
    """The browser lays the veil over the image, the figure draws the overlay: both must be the same picture."""
    image, values = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4), np.linspace(0, 1, 12).reshape(3, 4)
    painted = veil(values).astype(float)
    share = painted[..., 3:] / 255
    composed = share * painted[..., :3] + (1 - share) * 0.8 * image[..., None]
    assert np.abs(composed - overlay(image, values)).max() < 1.5
    assert opacity(np.array([0.0, 1.0])).tolist() == [0.0, 0.85]


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0, 1, width=32)))
def test_maps_are_enlarged_as_torch_does(values: np.ndarray) -> None:
    size = (values.shape[0] * 3, values.shape[1] * 5)
    expected = F.interpolate(torch.from_numpy(values)[None, None], size, mode="bilinear", align_corners=False)
    assert np.abs(resized(values, size) - expected[0, 0].numpy()).max() < 1e-5


def test_the_difference_is_ten_times_around_grey() -> None:
    clean, changed = np.array([[100, 100, 100, 0]], np.uint8), np.array([[100, 101, 92, 255]], np.uint8)
    assert difference(clean, changed).tolist() == [[128, 138, 48, 255]]
    assert difference(changed, clean).tolist() == [[128, 118, 208, 0]]
    with pytest.raises(InputError, match=re.escape("clean has shape (1, 4) and changed (2, 4)")):
        difference(clean, np.zeros((2, 4), np.uint8))


def test_small_images_grow_by_a_whole_factor_pixel_by_pixel() -> None:
    image = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3)
    large = fitted(image, 11)
    assert large.shape == (6, 9)
    assert (large[1::3, 1::3] == image).all()
    assert (large[0:3, 3:6] == image[0, 1]).all()
    assert fitted(np.zeros((128, 60, 3), np.uint8), 128).shape == (128, 60, 3)
    assert fitted(np.full((300, 600, 3), 7, np.uint8), 128).shape == (64, 128, 3)
    assert fitted(np.zeros((4000, 1), np.uint8), 128).shape == (128, 1)


masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 7)))


def edges_of(path: str) -> set[tuple[str, int, int]]:
    """List the unit edges in an SVG path of h and v lines."""
    found = set()
    for x, y, kind, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", path):
        for step in range(int(length)):
            edge = (kind, int(x) + step, int(y)) if kind == "h" else (kind, int(x), int(y) + step)
            assert edge not in found
            found.add(edge)
    return found


@given(masks)
def test_the_outline_is_every_edge_between_inside_and_outside(mask: np.ndarray) -> None:
    height, width = mask.shape
    expected = {("h", x, y) for y in range(1, height) for x in range(width) if mask[y - 1, x] != mask[y, x]}
    expected |= {("v", x, y) for y in range(height) for x in range(1, width) if mask[y, x - 1] != mask[y, x]}
    assert edges_of(outline_path(mask)) == expected


def test_an_outline_of_a_square_is_four_lines() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:4, 2:5] = True
    assert outline_path(mask) == "M2 1h3M2 4h3M2 1v3M5 1v3"
    assert outline_path(np.ones((3, 3), bool)) == ""


def test_a_drawn_outline_is_white_inside_and_black_outside() -> None:
    mask = np.zeros((2, 2), bool)
    mask[:, 0] = True  # touches three borders: a line on its fourth side alone
    picture = np.full((8, 8, 3), 99, np.uint8)
    drawn = draw_outline(picture, mask)
    assert (drawn[:, 3] == 255).all()
    assert (drawn[:, 4] == 0).all()
    assert (np.delete(drawn, [3, 4], axis=1) == 99).all()
    assert (picture == 99).all()
