"""16-bit images: white by content, or as the user says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from underfire.data import in_classifier_order, open_data
from underfire.errors import InputError, UnderfireWarning


def write(root: Path, *peaks: int) -> Path:
    """Write one 16-bit image per peak, with values from 0 to the peak."""
    (root / "a").mkdir(parents=True)
    for number, peak in enumerate(peaks):
        values = np.linspace(0, peak, 64).round().astype(np.uint16).reshape(8, 8)
        Image.fromarray(values).save(root / "a" / f"{number}.png")
    return root


def test_twelve_bits_in_sixteen_are_seen_by_their_values(tmp_path: Path) -> None:
    data = open_data(write(tmp_path, 4000, 1000))
    with pytest.warns(UnderfireWarning, match="values up to 4000 only: they are taken for 12 bits .* 4095.*--white"):
        batch = data.load(channels=1)
    assert batch.images.amax((1, 2, 3)).mul(255).round().tolist() == [
        round(4000 / 4095 * 255),
        round(1000 / 4095 * 255),
    ]
    assert len(batch.images[0].unique()) == 64
    data.load(channels=1)  # said once


def test_white_does_not_depend_on_the_images_that_are_read(tmp_path: Path) -> None:
    data = in_classifier_order(open_data(write(tmp_path, 1000, 4000)), ["a"])
    with pytest.warns(UnderfireWarning, match="12 bits"):
        alone = data.load(channels=1, indices=[0])
    assert float(alone.images.max()) == pytest.approx(round(1000 / 4095 * 255) / 255)


def test_white_as_the_user_says(tmp_path: Path) -> None:
    write(tmp_path, 4000)
    for white in (65535, 8191):
        largest = float(open_data(tmp_path, white=white).load(channels=1).images.max())
        assert largest == pytest.approx(round(4000 / white * 255) / 255)
    reason = open_data(tmp_path, white=1023).load(channels=1).unreadable[0][1]
    assert "range over [0, 4000]; expected pixels in [0, 1023]" in reason
    assert "--white 4000 or more" in reason
    with pytest.raises(InputError, match="white is -1"):
        open_data(tmp_path, white=-1)


@pytest.mark.parametrize("peak", [0, 65535, 30000])
def test_no_word_of_full_or_black_images(tmp_path: Path, peak: int) -> None:
    batch = open_data(write(tmp_path, peak)).load(channels=1)
    assert float(batch.images.max()) == pytest.approx(round(peak / 65535 * 255) / 255)


def test_negative_values_are_refused_with_the_line_that_mends_them(tmp_path: Path) -> None:
    """As CT scanners write them: Hounsfield units from -1024 on."""
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a" / "0.tif", np.linspace(-64, 2640, 64).astype(np.int16).reshape(8, 8))
    np.save(tmp_path / "a" / "1.npy", np.full((8, 8), -5, np.int16))
    np.save(tmp_path / "a" / "2.npy", np.full((8, 8), -0.5, np.float32))
    refused = open_data(tmp_path).load(channels=1, indices=[0, 1, 2]).unreadable
    assert len(refused) == 3
    for _, reason in refused:
        assert "255 * np.clip((values - low) / (high - low), 0, 1)" in reason
    assert "range over [-64, 2640]" in refused[0][1]


def test_white_of_rare_deep_images(tmp_path: Path) -> None:
    """Regression: if the images that were looked at had 8 bits, 12 bits among the others became nearly black."""
    root = write(tmp_path, *[4000] * 41)
    for number in set(range(41)) - {4}:
        Image.new("L", (8, 8), 100).save(root / "a" / f"{number}.png")
    with pytest.warns(UnderfireWarning, match="12 bits"):
        batch = open_data(root).load(channels=1)
    assert sorted(batch.images.amax((1, 2, 3)).mul(255).round().tolist())[-1] == round(4000 / 4095 * 255)
