"""Labels in the classifier's order: by name, by WordNet id, by number, by a file, and cases without an answer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from underfire.data import RelabelledData, TensorData, in_classifier_order, open_data, read_class_map
from underfire.errors import DataError, InputError, UnderfireWarning

CLASSIFIER = ("tench, Tinca tinca", "great white shark", "crane", "robin", "crane")


def named(*names: str) -> TensorData:
    """One image per name; its grey level is the position of the name."""
    count = len(names)
    pixels = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 1, 2, 2)
    return TensorData(pixels, range(count), [f"i{n}" for n in range(count)], names)


def labels(names: Sequence[str], classes: Sequence[str] | None = CLASSIFIER, **options: Any) -> list[int]:
    data = named(*names)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnderfireWarning)
        ordered = in_classifier_order(data, classes, **options)
    assert [ordered.read(n).getpixel((0, 0)) for n in range(len(ordered))] == list(range(len(names)))
    assert [ordered.record(n).image_id for n in range(len(ordered))] == [f"i{n}" for n in range(len(names))]
    found = [ordered.record(n).label for n in range(len(ordered))]
    assert all(label < len(ordered.class_names) for label in found)
    return found


def test_names_in_any_case_and_spacing_and_parts_of_names() -> None:
    assert labels(["Robin", "GREAT_WHITE-shark", "tench"]) == [3, 1, 0]
    assert labels(["tinca TINCA", "robin"]) == [0, 3]


def test_the_same_names_are_left_alone_even_where_two_are_alike() -> None:
    data = named(*CLASSIFIER)
    assert in_classifier_order(data, CLASSIFIER) is data


def test_numbers_are_class_numbers() -> None:
    assert labels(["3", "1"]) == [3, 1]
    assert labels(["0", "1", "2"]) == [0, 1, 2]
    assert labels(["7", "2"], None, count=10) == [7, 2]
    # 1..5 of five classes: 5 is not a class number, so positions are used.
    assert labels(["1", "2", "3", "4", "5"]) == [0, 1, 2, 3, 4]


def test_a_name_of_two_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"1 of the 2 class names of 'tensor' are not in .* or stand for two.*'crane'"):
        labels(["robin", "crane"])


def test_some_names_only() -> None:
    with pytest.raises(InputError, match=r"'robyn'\. The nearest to 'robyn' is 'robin'.*--class-map FILE"):
        labels(["tench", "robyn"])


def test_no_name_at_all_is_warned_of() -> None:
    data = named("n01", "n02")
    with pytest.warns(UnderfireWarning, match="none of the class names.*assumed to be in the classifier's order"):
        assert in_classifier_order(data, CLASSIFIER) is data
    assert in_classifier_order(data, None, 5) is data  # nothing to compare with, so no warning


INDEX = {"0": ["n01", "tench"], "2": ["n03", "crane"], "3": ["n04", "robin"], "4": ["n05", "crane"]}
MAPS: dict[str, str] = {
    "index.json": json.dumps(INDEX),
    "numbers.json": json.dumps({"n04": 3, "n01": 0, "n05": 4}),
    "names.json": json.dumps({"n04": "Robin", "n01": "tench, tinca tinca", "n05": "4"}),
    "list.json": json.dumps(["n01", "n02", "n03", "n04", "n05"]),
    "table.csv": "folder,class\nn04,3\nn01,0\nn05,4\n",
    "bare.csv": "n04, robin\nn01,0\n\nn05,4\n",
}


@pytest.mark.parametrize("name", MAPS)
def test_every_layout_of_a_class_map(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(MAPS[name])
    assert labels(["n04", "n05", "n01"], class_map=tmp_path / name) == [3, 4, 0]


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("a.json", "{", DataError, "is not JSON"),
        ("a.json", '{"a": {"b": 1}}', DataError, "has an unknown layout"),
        ("a.json", "{}", DataError, "has an unknown layout"),
        ("a.json", "[]", DataError, "names no class"),
        ("a.csv", "", DataError, "names no class"),
        ("a.csv", "name,class\n", DataError, "names no class"),
        ("a.csv", "a,1,2\n", DataError, "without exactly two columns"),
        ("a.json", '{"a": "owl"}', InputError, "maps 'a' to 'owl': the classifier has no such class"),
        (
            "a.json",
            '{"n04": 9, "n01": 1}',
            InputError,
            "gives 'n04' the class 9; expected 0 to 4, because",
        ),
        ("a.json", '{"n04": 3}', InputError, r"'n01'.*not in class map|not in class map.*'n01'"),
    ],
)
def test_class_maps_that_are_refused(tmp_path: Path, name: str, text: str, error: type[Exception], said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=said):
        labels(["n04", "n01"], class_map=tmp_path / name)


def test_a_class_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_class_map(tmp_path / "none.json")


def test_an_index_beside_the_folders_is_used(tmp_path: Path) -> None:
    for name in ("n04", "n01"):
        (tmp_path / name).mkdir()
        named("x").read(0).save(tmp_path / name / "a.png")
    (tmp_path / "imagenet_class_index.json").write_text(json.dumps(INDEX))
    ordered = in_classifier_order(open_data(tmp_path), None, 5)
    assert [ordered.record(n).label for n in range(2)] == [0, 3]
    assert ordered.class_names == ("n01", "1", "2", "n04", "4")
    # The index does not belong to a classifier with another number of classes.
    assert not isinstance(in_classifier_order(open_data(tmp_path), None, 7), RelabelledData)


def test_other_labels_are_another_fingerprint() -> None:
    data = named("robin", "tench")
    one, other = RelabelledData(data, [3, 0], CLASSIFIER), RelabelledData(data, [0, 3], CLASSIFIER)
    assert len({data.fingerprint(), one.fingerprint(), other.fingerprint()}) == 3
