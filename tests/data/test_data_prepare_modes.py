"""``prepare`` on every mode and depth of pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.pictures import COLOURS, grey, saved
from underfire.data import prepare
from underfire.data.decode import decode_image
from underfire.errors import UnreadableImageError


def test_rgb_of_the_right_size_is_unchanged() -> None:
    pixels = prepare(Image.fromarray(COLOURS), (2, 3), 3)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous()
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), COLOURS)


def test_no_size_keeps_the_images_own() -> None:
    assert np.array_equal(prepare(Image.fromarray(COLOURS), None, 3).permute(1, 2, 0).numpy(), COLOURS)


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_grey_goes_through_every_conversion_exactly(level: int) -> None:
    for image in (Image.new("L", (1, 1), level), Image.new("RGB", (1, 1), (level,) * 3)):
        assert prepare(image, None, 1).tolist() == [[[level]]]
        assert prepare(image, None, 3).flatten().tolist() == [level] * 3


def test_rgb_becomes_grey_by_itu_601() -> None:
    expected = (COLOURS @ np.array([0.299, 0.587, 0.114])).round()
    assert grey(prepare(Image.fromarray(COLOURS), None, 1)) == expected.tolist()


def test_one_bit_images_are_black_and_white() -> None:
    image = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert grey(prepare(saved(image, "PNG"), None, 1)) == [[0, 255]]


def test_cmyk_is_converted_without_a_profile() -> None:
    image = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
    assert prepare(image, None, 3).flatten().tolist() == [0, 255, 255]
    image = Image.new("CMYK", (1, 1), (0, 0, 0, 255))
    assert prepare(image, None, 3).flatten().tolist() == [0, 0, 0]


@pytest.mark.parametrize(("alpha", "expected"), [(255, 40), (0, 255), (51, 212)])
def test_alpha_is_put_on_white(alpha: int, expected: int) -> None:
    # 40 * 51 / 255 + 255 * 204 / 255 = 212
    assert prepare(Image.new("RGBA", (1, 1), (40, 40, 40, alpha)), None, 3).flatten().tolist() == [expected] * 3
    assert grey(prepare(Image.new("LA", (1, 1), (40, alpha)), None, 1)) == [[expected]]


def test_transparent_pixels_do_not_bleed_into_their_neighbours() -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)  # fully transparent black next to opaque white
    pixels[0] = 255
    assert prepare(Image.fromarray(pixels), (7, 7), 3).unique().tolist() == [255]


@pytest.mark.parametrize("suffix", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(suffix: str) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 10, 10, 20, 20, 20, 30, 30, 30])
    decoded = saved(image, suffix, transparency=1)
    assert "transparency" in decoded.info
    assert grey(prepare(decoded, None, 1)) == [[10, 255, 30]]


def test_palette_entries_with_alpha_are_blended() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    image.putpalette([40, 40, 40] * 3)
    decoded = saved(image, "PNG", transparency=bytes([255, 51, 0]))
    assert decoded.mode == "P"
    assert prepare(decoded, None, 3)[1].tolist() == [[40, 212, 255]]


def test_a_transparent_colour_is_white() -> None:
    decoded = saved(Image.fromarray(COLOURS), "PNG", transparency=(0, 0, 255))
    expected = COLOURS.copy()
    expected[0, 2] = 255
    assert np.array_equal(prepare(decoded, None, 3).permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(suffix: str) -> None:
    decoded = saved(Image.fromarray(np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)), suffix)
    assert grey(prepare(decoded, None, 1)) == [[0, 1, 128, 255]]


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_a_dark_sixteen_bit_image_stays_dark(suffix: str) -> None:
    decoded = saved(Image.fromarray(np.array([[0, 200, 255]], dtype=np.uint16)), suffix)
    assert grey(prepare(decoded, None, 1)) == [[0, 1, 1]]


def test_a_dark_sixteen_bit_pgm_stays_dark() -> None:
    decoded = decode_image(b"P5 2 1 65535\n\x00\xc8\x00\x00", "the test's image")
    assert grey(prepare(decoded, None, 1)) == [[1, 0]]


def test_big_endian_sixteen_bit_grey() -> None:
    image = Image.frombytes("I;16B", (2, 1), bytes([0xFF, 0xFF, 0x01, 0x01]))
    assert grey(prepare(image, None, 1)) == [[255, 1]]


def test_the_transparent_level_of_sixteen_bit_grey_is_white() -> None:
    levels = Image.fromarray(np.array([[0, 257, 514]], dtype=np.uint16))
    assert grey(prepare(saved(levels, "PNG", transparency=257), None, 1)) == [[0, 255, 2]]


def test_the_background_of_transparent_images_may_be_black() -> None:
    assert grey(prepare(Image.new("LA", (1, 1), (40, 51)), None, 1, behind="black")) == [[8]]
    levels = Image.fromarray(np.array([[257, 514, 771]], dtype=np.uint16))
    assert grey(prepare(saved(levels, "PNG", transparency=514), None, 1, behind="black")) == [[1, 0, 3]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 7, 255]], dtype=np.int32), [0, 7, 255]),
        (np.array([[0, 257, 65535]], dtype=np.int32), [0, 1, 255]),
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 7.6, 255]], dtype=np.float32), [0, 8, 255]),
    ],
)
def test_wide_pixels_are_scaled_by_their_range(values: np.ndarray, expected: list[int]) -> None:
    assert grey(prepare(Image.fromarray(values), None, 1)) == [expected]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 70000]], dtype=np.int32),
        np.array([[-1, 5]], dtype=np.int32),
        np.array([[-0.5, 0.5]], dtype=np.float32),
        np.array([[0, 300]], dtype=np.float32),
        np.array([[0, np.nan]], dtype=np.float32),
        np.array([[0, np.inf]], dtype=np.float32),
    ],
)
def test_values_without_a_known_white_are_refused(values: np.ndarray) -> None:
    with pytest.raises(UnreadableImageError, match=r"range over \["):
        prepare(Image.fromarray(values), None, 1)
