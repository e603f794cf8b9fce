"""Images with other numbers of channels than 1 and 3, and files that Pillow cannot read."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from underfire.data import open_data, prepare
from underfire.data.decode import decode_image
from underfire.data.pixels import DeepColours
from underfire.data.saved import load_png, save_png, visible
from underfire.errors import UnderfireWarning, UnreadableImageError

BANDS = np.random.default_rng(0).integers(0, 256, (6, 8, 5), dtype=np.uint8)


def npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def tiff(values: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="minisblack", planarconfig="contig")
    return buffer.getvalue()


@pytest.mark.parametrize("write", [npy, tiff])
@pytest.mark.parametrize("first", [True, False])
def test_five_bands(write: Any, first: bool) -> None:
    if write is tiff and first:
        pytest.skip("TIFF has the bands last")
    image = decode_image(write(BANDS.transpose(2, 0, 1) if first else BANDS), "x")
    assert torch.equal(prepare(image, None, 5), torch.from_numpy(BANDS.transpose(2, 0, 1).copy()))
    assert prepare(image, (3, 4), 5).shape == (5, 3, 4)
    with pytest.raises(UnreadableImageError, match=r"has 5 channels, and the classifier takes 3"):
        prepare(image, None, 3)


@pytest.mark.parametrize("write", [npy, tiff])
def test_sixteen_bits_in_bands(tmp_path: Path, write: Any) -> None:
    (tmp_path / "a").mkdir()
    suffix = "npy" if write is npy else "tif"
    (tmp_path / "a" / f"1.{suffix}").write_bytes(write(BANDS.astype(np.uint16) * 16))
    data = open_data(tmp_path)
    with pytest.warns(UnderfireWarning, match=r"taken for 12 bits"):
        images = data.load(channels=5).images
    assert torch.equal(images[0], torch.from_numpy((BANDS * (16 * 255 / 4095)).round() / 255).permute(2, 0, 1).float())


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (BANDS[..., 0], "L"),
        (BANDS[..., :1], "L"),
        (BANDS[..., :3], "RGB"),
        (BANDS[..., 0].astype(np.int64), "I;16"),
        (BANDS[..., 0] / 255, "F"),
    ],
)
def test_arrays_that_pillow_has_a_mode_for(values: Any, mode: str) -> None:
    image = decode_image(npy(values), "x")
    assert image.mode == mode
    assert prepare(image, None, 3, white=255 if mode == "I;16" else None).shape == (3, 6, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(BANDS.astype(np.int16) - 300), r"int16 from .* it looks like a measurement"),
        (npy(BANDS[:5, :5]), r"cannot be told from the sides"),
        (npy(BANDS[None]), r"shape \(1, 6, 8, 5\); expected H x W"),
        (npy(np.array([{}])), r"cannot be decoded"),
        (npy(BANDS)[:90], r"cannot be decoded"),
        (b"II*\0" + b"\0" * 40, r"shape \(0,\)|cannot be decoded"),
    ],
)
def test_arrays_that_are_no_images(content: bytes, message: str) -> None:
    pytest.importorskip("tifffile")
    with pytest.raises(UnreadableImageError, match=message):
        decode_image(content, "x")


def test_bands_without_tifffile_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    content = tiff(BANDS)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UnreadableImageError, match=r"tifffile can: pip install 'underfire\[formats\]'"):
        decode_image(content, "x")


def test_opacity_is_a_channel_of_four() -> None:
    values = np.dstack([BANDS[..., :3], np.full((6, 8), 128, np.uint8)])
    image = Image.fromarray(values)
    assert torch.equal(prepare(image, None, 4), torch.from_numpy(values.transpose(2, 0, 1).copy()))
    assert prepare(Image.fromarray(values[..., :3]), None, 4)[3].unique().tolist() == [255]
    assert prepare(image, None, 2).shape == (2, 6, 8)
    with pytest.raises(UnreadableImageError, match=r"has 4 channels, and the classifier takes 5"):
        prepare(image, None, 5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 12])
def test_images_of_any_channels_are_saved_without_loss(tmp_path: Path, channels: int) -> None:
    levels = torch.randint(0, 256, (channels, 6, 8), dtype=torch.uint8)
    save_png(tmp_path / "a.png", levels)
    assert torch.equal(load_png(tmp_path / "a.png"), levels)
    assert visible(levels).shape == ((6, 8) if channels < 3 else (6, 8, 3))


def dicom(values: Any, **tags: Any) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = pydicom.dataset.FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    file.Rows, file.Columns = values.shape[:2]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelRepresentation, file.PixelData = int(values.dtype.kind == "i"), values.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


def test_dicom() -> None:
    values = np.linspace(0, 4095, 48).round().astype(np.uint16).reshape(6, 8)
    expected = np.rint(values / 4095 * 255)
    assert np.array_equal(np.asarray(decode_image(dicom(values), "x")), expected)
    inverted = decode_image(dicom(values, PhotometricInterpretation="MONOCHROME1"), "x")
    assert np.abs(np.asarray(inverted) - (255 - expected)).max() <= 1


def test_dicom_with_a_window() -> None:
    """Hounsfield units from -1024, and the window of soft tissue: -160 is black, 240 is white."""
    values = np.linspace(0, 3000, 48).round().astype(np.int16).reshape(6, 8)
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "BitsStored": 16, "HighBit": 15}
    image = np.asarray(decode_image(dicom(values, **tags, WindowCenter=[40, 1], WindowWidth=[400, 2]), "x"))
    expected = ((values - 1024.0 - 39.5) / 399 + 0.5).clip(0, 1) * 255
    assert np.abs(image - expected).max() <= 0.5
    with pytest.raises(UnreadableImageError, match=r"names no window"):
        decode_image(dicom(values, **tags), "x")


def test_dicom_without_pydicom_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    assert "needs pydicom: pip install 'underfire[formats]'" in open_data(tmp_path).load().unreadable[0][1]


@pytest.mark.parametrize("kind", ["separate", "two channels", "BigTIFF"])
def test_the_first_page_of_16_bits_that_pillow_cannot_read(kind: str) -> None:
    """Regression: all pages were taken for one image: refused, or three grey pages became three channels."""
    tifffile = pytest.importorskip("tifffile")
    page = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    pages, settings = np.stack([page, page // 2, page // 3]), {"photometric": "minisblack"}
    if kind == "separate":
        pages, settings = np.stack([pages] * 3), {"photometric": "rgb", "planarconfig": "separate"}
    elif kind == "two channels":
        pages, settings = np.stack([pages] * 2, -1), {"photometric": "minisblack", "planarconfig": "contig"}
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pages, byteorder=">", bigtiff=kind == "BigTIFF", **settings)
    picture = decode_image(buffer.getvalue(), "a.tif")
    values = picture.values if isinstance(picture, DeepColours) else np.asarray(picture)
    first = pages[0].transpose(1, 2, 0) if kind == "separate" else pages[0]
    assert values.shape == first.shape
    assert (values == first).all()
