"""Lists of images by split that do not fit, or that are the user's own; Kaggle's table beside folders of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.data.test_data_named_places import image
from underfire.data import open_data
from underfire.errors import DataError, InputError

CUB = {
    "images.txt": "1 a.png\n2 b.png\n3 c.png\n",
    "classes.txt": "1 Crow\n2 Jay\n",
    "image_class_labels.txt": "1 1\n2 2\n3 2\n",
    "train_test_split.txt": "1 0\n2 0\n3 1\n",
}


def cub(folder: Path, **changes: str) -> Path:
    for name in "abc":
        image(folder / "images" / f"{name}.png")
    for name, content in (CUB | {f"{key}.txt": text for key, text in changes.items()}).items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def labels(folder: Path, **options: object) -> list[str]:
    data = open_data(folder, **options)
    return [data.class_names[data.record(place).label] for place in range(len(data))]


def test_lists_that_fit(tmp_path: Path) -> None:
    assert labels(cub(tmp_path)) == ["Crow", "Jay"]
    assert labels(tmp_path, split="train") == ["Jay"]
    assert labels(cub(tmp_path, classes="\ufeff1 Crow\n2 Jay\n")) == ["Crow", "Jay"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "1 Crow\n2 Crow\n"}, "'Crow' more than once"),
        ({"train_test_split": "1 0.0\n2 0.0\n3 1.0\n"}, "holds '0.0'; expected 1 for training, 0 for testing"),
        ({"train_test_split": "1 0\n3 1\n"}, "lacks image 2, 'b.png'"),
        ({"images": "1 a.png\n2 a.png\n3 c.png\n"}, "'a.png' more than once"),
        ({"train_test_split": "1 0\n2 0\n3 1\n3 0\n"}, r"split\.txt, line 4: 3 has '0' here, and '1' in line 3"),
        ({"image_class_labels": "1 1\n2 2\n\n3 2\n2 1\n"}, r"labels\.txt, line 5: 2 has '1' here, and '2' in line 2"),
        ({"train_test_split": "1 1\n2 1\n3 1\n"}, "name no test images.*--split train"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    """Regression: labels of other classes, images lost, training images for test images, without a word."""
    with pytest.raises(DataError, match=message):
        open_data(cub(tmp_path, **changes))


def test_lists_of_ones_own(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        image(tmp_path / "images" / name / "1.png")
    (tmp_path / "annotations").mkdir()
    for name in ("trainval", "test"):
        (tmp_path / "annotations" / f"{name}.txt").write_text("cat/1.png\n")
    assert labels(tmp_path, class_level=2) == ["cat", "dog"]


def test_an_image_in_the_lists_of_two_splits_is_refused(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        image(tmp_path / "images" / f"{name}_1.png")
    (tmp_path / "annotations").mkdir()
    for name in ("trainval", "test"):
        (tmp_path / "annotations" / f"{name}.txt").write_text("cat_1 1 1 1\ndog_1 2 1 1\n")
    with pytest.raises(DataError, match=r"the images in the lists of .* hold 'cat_1' more than once"):
        open_data(tmp_path)


def test_kaggles_table_beside_folders_of_classes(tmp_path: Path) -> None:
    """Regression: the usual folders of ImageNet were not found when Kaggle's table was left beside them."""
    for part in ("train", "val"):
        for wordnet_id in ("n01440764", "n02119789"):
            image(tmp_path / part / wordnet_id / f"{part}_{wordnet_id}.JPEG")
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nval_n01440764,n01440764 1 2 3 4 \nval_n02119789,n02119789 1 2 3 4 \n"
    )
    for part in ("train", "val"):
        assert labels(tmp_path, split=part) == ["n01440764", "n02119789"]


@pytest.mark.parametrize("header", ["ImageId,PredictionString\n", ""])
def test_kaggles_table_beside_its_images(tmp_path: Path, header: str) -> None:
    names = {"ILSVRC2012_val_00000001": "n02119789", "ILSVRC2012_val_00000002": "n01440764"}
    for name in names:
        image(tmp_path / f"{name}.JPEG")
    rows = "".join(f"{name},{wordnet_id} 1 2 3 4 \n" for name, wordnet_id in names.items())
    (tmp_path / "LOC_val_solution.csv").write_text(header + rows)
    if header:
        assert labels(tmp_path) == ["n02119789", "n01440764"]
    else:
        with pytest.raises(DataError, match="expected the header ImageId,PredictionString"):
            open_data(tmp_path)


def test_kaggles_table_by_its_path(tmp_path: Path) -> None:
    """Regression: any split was taken for the validation images, and the last of two classes of an image counted."""
    for name in ("a", "b"):
        image(tmp_path / f"{name}.JPEG")
    table = tmp_path / "LOC_val_solution.csv"
    table.write_text("ImageId,PredictionString\na,n02119789 1 2 3 4\nb,n01440764 1 2 3 4\n")
    assert labels(table, split="val") == labels(table) == ["n02119789", "n01440764"]
    for split in ("train", "test", "foo"):
        with pytest.raises(InputError, match=f"split is '{split}'"):
            open_data(table, split=split)
    table.write_text(table.read_text() + "a,n02119789 5 6 7 8\n")
    assert labels(table) == ["n02119789", "n01440764"]
    table.write_text(table.read_text() + "a,n01440764 5 6 7 8\n")
    with pytest.raises(DataError, match="line 5: image 'a' has the class n01440764 here, and n02119789 in an earlier"):
        open_data(table)


def test_kaggles_table_that_names_an_image_in_two_ways_is_refused(tmp_path: Path) -> None:
    """Regression: the image was there twice, with two classes."""
    image(tmp_path / "a.JPEG")
    table = "ImageId,PredictionString\na,n02119789 1 2 3 4\na.JPEG,n01440764 1 2 3 4\n"
    (tmp_path / "LOC_val_solution.csv").write_text(table)
    with pytest.raises(DataError, match=r"twice: as 'a' with .* n02119789, and as 'a\.JPEG' with .* n01440764"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(1, "n01", 0), (2, "n02", 0), (2, "n03", 0)], "the number 2 to n02 and to n03"),
        ([(1, "n01", 0), (2, "n01", 0)], "n01 the numbers 1 and 2"),
    ],
)
def test_a_development_kit_of_two_minds_is_refused(
    tmp_path: Path, entries: list[tuple[int, str, int]], message: str
) -> None:
    """Regression: the last class of a number counted, and a class with two numbers was two classes of one name."""
    image(tmp_path / "ILSVRC2012_val_00000001.JPEG")
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n")
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    savemat(tmp_path / "meta.mat", {"synsets": np.array(entries, dtype=kind)})
    with pytest.raises(DataError, match=message):
        open_data(tmp_path)
