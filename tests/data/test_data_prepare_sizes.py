"""Sizes that ``prepare`` crops, resizes, refuses or keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.pictures import oriented
from underfire.data import prepare
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


def test_the_centre_is_kept() -> None:
    levels = np.zeros((2, 6), dtype=np.uint8)
    levels[:, 2:4] = 200
    assert prepare(Image.fromarray(levels), (2, 2), 1).unique().tolist() == [200]
    assert prepare(Image.fromarray(levels.T.copy()), (2, 2), 1).unique().tolist() == [200]


def test_halving_agrees_with_a_resize_of_the_short_side() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    # Crop and scale commute here, except at the border, where the filter sees other pixels beyond the crop.
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


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4,), (4, 4, 4), 4, 4.5, (4.5, 4), ("a", 4)])
def test_impossible_sizes_are_refused(size: Any) -> None:
    with pytest.raises(InputError, match="size is"):
        prepare(Image.new("L", (2, 2)), size, 1)


@pytest.mark.parametrize("channels", [0, -1, 2.5, True])
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
