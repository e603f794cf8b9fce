"""Images are turned upright exactly once; with broken metadata they stay as they are stored."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.data.pictures import grey, oriented
from underfire.data import prepare
from underfire.data.decode import decode_image


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
