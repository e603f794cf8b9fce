"""Colours with 16 bits, of which Pillow keeps the upper 8: all of them count."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from underfire.data import open_data, prepare
from underfire.data.decode import decode_image
from underfire.data.pixels import DeepColours
from underfire.errors import UnderfireWarning, UnreadableImageError

VALUES = np.random.default_rng(0).integers(0, 65536, (6, 8, 4)).astype(np.uint16)
KINDS = {2: 4, 3: 2, 4: 6}
PASSES = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(values: Any, *extra: bytes, interlaced: bool = False) -> bytes:
    """Write a PNG file of 16 bits by its specification, as Pillow writes 8 bits only."""
    height, width, channels = values.shape
    parts = [values[y::dy, x::dx] for y, dy, x, dx in PASSES] if interlaced else [values]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, 16, KINDS[channels], 0, 0, interlaced)
    content = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(content)


def tiff(values: Any, **settings: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **settings)
    return buffer.getvalue()


def values_of(content: bytes) -> Any:
    picture = decode_image(content, "x")
    return picture.values if isinstance(picture, DeepColours) else picture


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png(channels: int, interlaced: bool) -> None:
    values = VALUES[..., :channels]
    assert np.array_equal(values_of(png(values, interlaced=interlaced)), values)


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_tiff(compression: str | None, byteorder: Any, planes: Any) -> None:
    values = VALUES[..., :3]
    stored = values.transpose(2, 0, 1) if planes == "separate" else values
    content = tiff(stored, photometric="rgb", planarconfig=planes, compression=compression, byteorder=byteorder)
    assert np.array_equal(values_of(content), values)


def test_twelve_bits_in_sixteen_are_seen_by_their_values(tmp_path: Path) -> None:
    """Full opacity has 65535 also in images of 12 bits, and does not count for the value of white."""
    opaque = np.concatenate((VALUES[..., :3] >> 4, np.full((6, 8, 1), 65535, np.uint16)), -1)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(png(opaque))
    (tmp_path / "a" / "2.png").write_bytes(png(opaque[..., :3]))
    with pytest.warns(UnderfireWarning, match="taken for 12 bits with white at 4095"):
        images = open_data(tmp_path).load(channels=3).images
    want = torch.from_numpy((opaque[..., :3] * (255 / 4095)).round() / 255).permute(2, 0, 1).float()
    assert torch.equal(images[0], want)
    assert torch.equal(images[1], want)
    half = open_data(tmp_path, white=8191).load(channels=3).images
    assert float(half.max()) == pytest.approx(0.5, abs=0.01)


def test_opacity_channels_and_too_small_white() -> None:
    values = np.zeros((2, 2, 4), np.uint16)
    values[0, 0] = 65535
    picture = decode_image(png(values), "x")
    assert prepare(picture, None, 3).tolist() == torch.full((3, 2, 2), 255).tolist()
    assert prepare(picture, None, 3, behind="black")[0].tolist() == [[255, 0], [0, 0]]
    assert prepare(picture, None, 4)[3].tolist() == [[255, 0], [0, 0]]
    assert prepare(picture, None, 1).shape == (1, 2, 2)
    with pytest.raises(UnreadableImageError, match=r"\[0, 4095\].*--white 65535"):
        prepare(picture, None, 3, white=4095)
    twelve = decode_image(png(np.full((2, 2, 4), 4095, np.uint16)), "x")
    assert prepare(twelve, None, 3, behind="black", white=4095).unique().tolist() == [255]


def test_a_colour_that_stands_for_transparent() -> None:
    values = VALUES[..., :3].copy()
    values[0, 0] = (1, 2, 3)
    picture = decode_image(png(values, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))), "x")
    assert prepare(picture, None, 3)[:, 0, 0].tolist() == [255] * 3
    assert torch.equal(prepare(picture, None, 3, behind="black")[:, 1:], prepare(picture, None, 3)[:, 1:])


def test_turned_as_the_metadata_say() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    values = VALUES[..., :3]
    picture = decode_image(png(values, chunk(b"eXIf", exif.tobytes()[6:])), "x")
    want = torch.from_numpy(np.rot90((values / 257).round(), -1).copy()).permute(2, 0, 1).byte()
    assert torch.equal(prepare(picture, None, 3), want)


def test_a_file_that_is_cut_off() -> None:
    for channels in (2, 3):
        content = png(VALUES[..., :channels])
        with pytest.raises(UnreadableImageError, match="cannot be decoded"):
            decode_image(content[: len(content) - 40], "x")
