"""What ``prepare`` makes of every kind of image, pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from underfire.data import prepare
from underfire.data.decode import decode_image
from underfire.errors import InputError, UnreadableImageError

MODES = (
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "LA",
    "PA",
    "RGBX",
    "RGBa",
    "La",
    "I;16",
    "I;16L",
    "I;16B",
)
COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [0, 0, 0], [90, 120, 200]]], dtype=np.uint8
)


def saved(image: Image.Image, suffix: str, **options: object) -> Image.Image:
    """``image`` after a round trip through a file format."""
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return decode_image(buffer.getvalue(), "the test's image")


def grey(pixels: torch.Tensor) -> list[list[int]]:
    assert pixels.shape[0] == 1
    return pixels[0].tolist()


def oriented(tag: int, suffix: str = "PNG") -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = tag
    levels = Image.fromarray(np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8))
    return saved(levels, suffix, exif=exif)


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
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)  # black below full transparency, beside opaque white
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


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (1, [[10, 20, 30], [40, 50, 60]]),
        (2, [[30, 20, 10], [60, 50, 40]]),
        (3, [[60, 50, 40], [30, 20, 10]]),
        (4, [[40, 50, 60], [10, 20, 30]]),
        (5, [[10, 40], [20, 50], [30, 60]]),
        (6, [[40, 10], [50, 20], [60, 30]]),
        (7, [[60, 30], [50, 20], [40, 10]]),
        (8, [[30, 60], [20, 50], [10, 40]]),
        (9, [[10, 20, 30], [40, 50, 60]]),
    ],
)
def test_exif_orientation(tag: int, expected: list[list[int]]) -> None:
    assert grey(prepare(oriented(tag), None, 1)) == expected


def test_a_tiff_is_turned_once() -> None:
    assert grey(prepare(oriented(6, "TIFF"), None, 1)) == [[40, 10], [50, 20], [60, 30]]


def test_orientation_is_applied_before_the_size_is_compared() -> None:
    assert grey(prepare(oriented(6), (3, 2), 1)) == [[40, 10], [50, 20], [60, 30]]


def test_broken_metadata_leave_the_pixels_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Image.Image) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", broken)
    assert grey(prepare(Image.new("L", (2, 1), 9), None, 1)) == [[9, 9]]


def test_a_malformed_exif_block_leaves_the_pixels_as_stored() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2), (9, 9, 9)).save(buffer, "WEBP", lossless=True, exif=exif)
    content = buffer.getvalue()
    assert content.count(b"MM\x00*") == 1
    decoded = decode_image(content.replace(b"MM\x00*", b"MMxx"), "the test's image")
    assert prepare(decoded, None, 3).shape == (3, 2, 3)


def test_the_centre_is_kept() -> None:
    levels = np.zeros((2, 6), dtype=np.uint8)
    levels[:, 2:4] = 200
    assert prepare(Image.fromarray(levels), (2, 2), 1).unique().tolist() == [200]
    assert prepare(Image.fromarray(levels.T.copy()), (2, 2), 1).unique().tolist() == [200]


def test_halving_agrees_with_a_resize_of_the_short_side() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    # Crop and scale commute here; what differs is which pixels beyond the crop the filter sees at its rim.
    expected = np.asarray(Image.fromarray(noise).resize((48, 32), Image.Resampling.BICUBIC))[:, 8:40]
    prepared = prepare(Image.fromarray(noise), (32, 32), 3).permute(1, 2, 0).numpy()
    assert np.array_equal(prepared[:, 2:-2], expected[:, 2:-2])


def test_downscaling_is_antialiased() -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    inner = prepare(Image.fromarray(stripes), (8, 8), 1)[0, :, 1:-1].float()
    assert inner.sub(127.5).abs().max() < 2


def test_the_image_itself_is_left_alone() -> None:
    image = oriented(6)
    before = (image.size, image.tobytes(), image.getexif()[0x0112])
    prepare(image, (5, 5), 3)
    assert (image.size, image.tobytes(), image.getexif()[0x0112]) == before


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4,), (4, 4, 4)])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="size is"):
        prepare(Image.new("L", (2, 2)), size, 1)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_impossible_channels_are_refused(channels: int) -> None:
    with pytest.raises(InputError, match=f"channels is {channels}"):
        prepare(Image.new("L", (2, 2)), None, channels)


def test_an_image_without_pixels_is_unreadable() -> None:
    with pytest.raises(UnreadableImageError, match="0 wide, 3 high"):
        prepare(Image.new("L", (0, 3)), (2, 2), 1)


@settings(max_examples=300, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    own=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    size=st.none() | st.tuples(st.integers(1, 60), st.integers(1, 60)),
    channels=st.sampled_from([1, 3]),
)
def test_any_image_comes_out_as_asked(
    mode: str, own: tuple[int, int], size: tuple[int, int] | None, channels: int
) -> None:
    pixels = prepare(Image.new(mode, own), size, channels)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (channels, *(size or own[::-1]))
    assert pixels.is_contiguous()


@settings(max_examples=100, deadline=None)
@given(
    level=st.integers(0, 255),
    own=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_a_flat_image_stays_flat(level: int, own: tuple[int, int], size: tuple[int, int]) -> None:
    assert prepare(Image.new("L", own, level), size, 3).unique().tolist() == [level]


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    mode=st.sampled_from(["L", "RGB"]),
)
def test_the_right_size_is_pixel_identical(data: st.DataObject, size: tuple[int, int], mode: str) -> None:
    channels = len(mode)
    content = data.draw(st.binary(min_size=size[0] * size[1] * channels, max_size=size[0] * size[1] * channels))
    pixels = prepare(Image.frombytes(mode, size[::-1], content), size, channels)
    assert pixels.permute(1, 2, 0).numpy().tobytes() == content


def test_extreme_shapes() -> None:
    assert prepare(Image.new("L", (3000, 1), 7), (224, 224), 3).unique().tolist() == [7]
    assert prepare(Image.new("L", (1, 1), 7), (500, 2), 1).unique().tolist() == [7]
    assert prepare(Image.new("RGB", (1, 3000), (7, 7, 7)), (1, 500), 1).shape == (1, 1, 500)
