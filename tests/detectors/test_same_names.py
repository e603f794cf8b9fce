"""Different images with the same file names, as in the folders of training and of test data."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import underfire as uf
from tests.detectors.conftest import EPS, Digits
from underfire.detectors.from_data import fit_on_data
from underfire.detectors.split import Members, Split
from underfire.runs import RunConfig, run_attack


def write(folder: Path, digits: Digits, first: int, count: int) -> None:
    """Save digits as ``0/000.png``, ``0/001.png``, ... in a folder for each class, as ImageFolder reads them."""
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    images = digits.images[first : first + count]
    labels = digits.system.classifier.logits(images).argmax(1).tolist()
    for image, label in zip((images[:, 0] * 255).round().byte(), labels, strict=True):
        place = folder / str(label)
        Image.fromarray(image.numpy()).save(place / f"{len(list(place.iterdir())):03}.png")


@pytest.fixture(scope="module")
def home(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders with nearly the same names, and a run on all images of each."""
    home = tmp_path_factory.mktemp("folders")
    for name, first in (("train", 0), ("test", 60)):
        write(home / name, digits, first, 60)
        config = RunConfig.create(
            data=str(home / name), classifier="digits-resnet", eps=EPS, attack="pgd", noise_draws=1
        )
        run_attack(config, home / f"run-{name}", batch_size=20)
    return home


def test_folders_with_the_same_names_are_different_images(digits: Digits, home: Path) -> None:
    """Regression: names counted, so that no image was left to fit on, and the detector was refused on test images."""
    data, classifier = uf.data.open_data(str(home / "train")), digits.system.classifier
    names = set(uf.Run(home / "run-train").image_ids) & set(uf.Run(home / "run-test").image_ids)
    assert len(names) > 40
    fitted = fit_on_data("squeezing:median:2", classifier, data, calibration=50, apart_from=[home / "run-test"])
    assert len(set(fitted.members["calibration"].ids) & names) > 30
    assert uf.detectors.evaluate(fitted, home / "run-test").rows()
    with pytest.raises(uf.errors.InputError, match="are among the images of the run"):
        uf.detectors.evaluate(fitted, home / "run-train")
    with pytest.raises(uf.errors.DataError, match="has 0 images that can be taken"):
        fit_on_data("squeezing:median:2", classifier, data, calibration=50, apart_from=[home / "run-train"])


def test_attacked_images_have_the_pixels_of_their_sources(digits: Digits, home: Path) -> None:
    data = uf.data.open_data("digits:test")
    learnt = {"attacked": [home / "run-train"], "calibration": 30, "count": 0}
    fitted = fit_on_data("lid:5", digits.system.classifier, data, apart_from=[home / "run-test"], **learnt)
    assert all(fitted.members["attacked"].pixels)
    assert set(fitted.members["attacked"].pixels) <= set(fitted.members["benign"].pixels)
    assert uf.detectors.evaluate(fitted, home / "run-test").rows()
    with pytest.raises(uf.errors.InputError, match="Attack other images for the detector to learn from"):
        fit_on_data("lid:5", digits.system.classifier, data, apart_from=[home / "run-train"], **learnt)


def test_ids_decide_where_pixels_are_unknown(digits: Digits) -> None:
    first, second = (
        Split.of(some, digits.system.classifier, ["a", "b"]).members for some in digits.images[:4].split(2)
    )
    assert first.shared_with(second) == []
    assert first.shared_with(Members(("c", "d"), first.pixels[::-1])) == ["a", "b"]
    for other in (Members(second.ids), Members(second.ids, ("", ""))):
        assert first.shared_with(other) == other.shared_with(first) == ["a", "b"]
    half = Members(("a", "b"), (second.pixels[0], ""))
    assert first.shared_with(half) == half.shared_with(first) == ["b"]
