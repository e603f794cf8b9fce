"""Different images with the same file names, as in the folders of training and of test data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import underfire as uf
from tests.detectors.conftest import EPS, Digits
from tests.runs.runs import Command
from underfire.detectors.from_data import fit_on_data
from underfire.detectors.split import Members, Split
from underfire.errors import DataError, InputError
from underfire.runs import RunConfig, run_attack
from underfire.runs.saved_images import SavedImages


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
    fitted.save(home / "fitted")
    fitted = uf.detectors.load(home / "fitted", classifier)
    assert uf.detectors.evaluate(fitted, home / "run-test").rows()
    with pytest.raises(InputError, match="are among the images of the run"):
        uf.detectors.evaluate(fitted, home / "run-train")
    with pytest.raises(DataError, match="has 0 images that can be taken"):
        fit_on_data("squeezing:median:2", classifier, data, calibration=50, apart_from=[home / "run-train"])


def test_a_file_is_one_image_however_it_is_read(digits: Digits, home: Path, tmp_path: Path) -> None:
    """Other names, or other pixels because it was prepared in another way, do not make another image of it."""
    classifier = digits.system.classifier
    run = uf.Run(home / "run-test")
    data = uf.data.open_data(str(home / "test"))
    places = [place for place in range(len(data)) if data.record(place).image_id in set(run.image_ids)][:20]
    other = data.load((16, 16), 1, places).images.roll(1, dims=3)
    ids, contents = [data.record(place).image_id for place in places], [data.content(place) for place in places]
    for named in (ids, [f"other/{each}" for each in ids]):
        split = Split.of(other, classifier, named, contents=contents)
        fitted = uf.detectors.fit("squeezing:median:2", classifier, split, false_positives=0.1)
        with pytest.raises(InputError, match="20 of the calibration images of detector"):
            uf.detectors.evaluate(fitted, home / "run-test")


@pytest.mark.parametrize("missing", ["detector", "run"])
def test_names_decide_for_folders_of_earlier_versions(digits: Digits, home: Path, tmp_path: Path, missing: str) -> None:
    """They hold no hashes of files, so that nobody knows if files of one name are one image."""
    data, classifier = uf.data.open_data(str(home / "train")), digits.system.classifier
    fitted = fit_on_data("squeezing:median:2", classifier, data, calibration=50)
    fitted.save(tmp_path / "fitted")
    run = Path(shutil.copytree(home / "run-test", tmp_path / "run"))
    if missing == "run":
        (run / "selection.json").unlink()
    else:
        record = json.loads((tmp_path / "fitted" / "detector.json").read_text())
        del record["members"]["calibration"]["contents"]
        (tmp_path / "fitted" / "detector.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="are among the images of the run"):
        uf.detectors.evaluate(uf.detectors.load(tmp_path / "fitted", classifier), run)


def test_a_detector_is_apart_from_images_that_are_about_to_be_attacked(
    command: Command, digits: Digits, home: Path, tmp_path: Path
) -> None:
    data = uf.data.open_data(str(home / "train"))
    fit_on_data("squeezing:median:2", digits.system.classifier, data, calibration=50).save(tmp_path / "fitted")
    words = ("attack", "--classifier", "digits-resnet", "--attack", "pgd", "--steps", "1,2", "--count", 10)
    words = (*words, "--detector", tmp_path / "fitted")
    refused = command(*words, "--data", home / "train", "--out", tmp_path / "seen")
    assert refused.code == 2
    assert "are among the images to attack" in refused.said
    ended = command(*words, "--data", home / "test", "--out", tmp_path / "unseen")
    assert ended.code == 0, ended.err


def test_attacks_on_images_of_one_name_are_learnt_from_apart(digits: Digits, home: Path) -> None:
    """Two runs on images of the same names, and clean images of the same names: each keeps what tells it."""
    data, classifier = uf.data.open_data(str(home / "train")), digits.system.classifier
    runs = [uf.Run(home / "run-train"), uf.Run(home / "run-test")]
    with pytest.raises(DataError, match="has 0 images that can be taken"):
        fit_on_data("lid:5", classifier, data, attacked=runs, calibration=30, count=0)
    digits_data = uf.data.open_data("digits:test")
    fitted = fit_on_data("lid:5", classifier, digits_data, attacked=runs, calibration=30, count=0)
    benign, fooled = fitted.members["benign"], fitted.members["attacked"]
    assert len(set(benign)) == sum(int(run.correct.sum()) for run in runs)
    assert len(set(benign.ids)) < len(benign)
    assert set(fooled.contents) <= set(benign.contents)
    assert len(set(fooled.contents)) > len(set(fooled.ids))
    known = fit_on_data("lid:5", classifier, data, attacked=runs[1:], calibration=30, count=0)
    assert set(known.members["calibration"].ids) & set(known.members["attacked"].ids)


def test_runs_to_be_tested_on_are_left_out_of_those_to_learn_from(digits: Digits, home: Path) -> None:
    """Regression: their attacked images were learnt from, and the detector was refused when it was tested on them."""
    data, classifier = uf.data.open_data("digits:test"), digits.system.classifier
    runs = [home / "run-train", home / "run-test"]
    fitted = fit_on_data("lid:5", classifier, data, attacked=runs, apart_from=runs[1:], calibration=30, count=0)
    alone = fit_on_data("lid:5", classifier, data, attacked=runs[:1], calibration=30, count=0)
    assert fitted.members["attacked"] == alone.members["attacked"]
    assert fitted.members["benign"] == alone.members["benign"]
    assert uf.detectors.evaluate(fitted, runs[1]).rows()
    with pytest.raises(DataError, match=r"not counting images of the runs .* \(apart_from\)"):
        fit_on_data("lid:5", classifier, data, attacked=runs, apart_from=runs, calibration=30, count=0)


def test_what_tells_images(digits: Digits) -> None:
    """Pixels and contents decide where they are equal; ids unless contents of one kind differ."""
    one, other = (Split.of(some, digits.system.classifier, ["a", "b"]).members for some in digits.images[:4].split(2))
    assert one.shared_with(other) == ["a", "b"]
    assert one.shared_with(Members(("c", "d"), one.pixels[::-1])) == ["a", "b"]
    assert Members(("a",), (), ("file:1",)).shared_with(Members(("b",), (), ("file:1",))) == ["a"]
    for content, shared in (("file:1", True), ("file:2", False), ("levels:2", True), ("", True)):
        held = Members(("a",), ("0",), (content,))
        first = Members(("a", "b"), ("1", "2"), ("file:1", "file:3"))
        assert first.shared_with(held) == held.shared_with(first) == (["a"] if shared else [])
    assert Members(("a",), ("1",), ("file:1",)).shared_with(Members(("a",), ("1",), ("file:2",))) == ["a"]


def test_a_transfer_knows_what_its_images_are(home: Path, tmp_path: Path) -> None:
    """They are those of the run that it reads."""
    uf.transfer(home / "run-test", "digits-resnet", "grad", tmp_path / "transfer")
    read = SavedImages(uf.Run(tmp_path / "transfer" / "digits-resnet"), "clean")
    source, data = SavedImages(uf.Run(home / "run-test"), "clean"), uf.data.open_data(str(home / "test"))
    assert len(read) > 20
    for images in (read, source):
        held = {images.record(place).image_id: images.content(place) for place in range(len(images))}
        stored = {data.record(place).image_id: data.content(place) for place in range(len(data))}
        assert held.items() <= stored.items()
