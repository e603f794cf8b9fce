"""scikit-learn's digits as a data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from underfire.data import Digits, Record
from underfire.errors import InputError


def test_all_digits() -> None:
    content = load_digits()
    data = Digits()
    assert len(data) == 1797
    assert data.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert data.record(12) == Record("digits/00012", "digits/00012", int(content.target[12]))
    batch = data.load(channels=1)
    assert batch.images.shape == (1797, 1, 8, 8)
    assert batch.labels.tolist() == content.target.tolist()
    assert len(set(batch.ids)) == 1797


def test_levels_are_the_nearest_of_eight_bits() -> None:
    content = load_digits()
    expected = np.floor(content.images * 255 / 16 + 0.5)
    assert {0, 128, 255} < set(expected.flatten())
    assert np.array_equal(Digits().load(channels=1).images.mul(255).round().squeeze(1).numpy(), expected)


def test_images_are_grey() -> None:
    image = Digits().read(0)
    assert (image.mode, image.size) == ("L", (8, 8))


def test_subsets_part_the_whole_and_keep_the_numbers() -> None:
    whole, test, train = (
        Digits().load(channels=1),
        Digits("test").load(channels=1),
        Digits("train").load(channels=1),
    )
    assert len(test.ids) == 359
    assert test.ids[:3] == ["digits/00004", "digits/00009", "digits/00014"]
    assert train.ids[:5] == ["digits/00000", "digits/00001", "digits/00002", "digits/00003", "digits/00005"]
    assert sorted(test.ids + train.ids) == whole.ids
    by_id = dict(zip(whole.ids, whole.images, strict=True))
    for part in (test, train):
        assert all(torch.equal(image, by_id[name]) for name, image in zip(part.ids, part.images, strict=True))
    labels = dict(zip(whole.ids, whole.labels.tolist(), strict=True))
    assert test.labels.tolist() == [labels[name] for name in test.ids]


def test_indices_choose_by_number() -> None:
    data = Digits(indices=[1796, 3, 40])
    whole = Digits()
    assert [data.record(index).image_id for index in range(3)] == [
        "digits/01796",
        "digits/00003",
        "digits/00040",
    ]
    assert data.read(1).tobytes() == whole.read(3).tobytes()
    assert data.record(2).label == whole.record(40).label


@pytest.mark.parametrize(
    ("subset", "indices", "message"),
    [
        ("tset", None, "unknown subset of digits 'tset'. Did you mean 'test'"),
        ("all", [0, 1797], "indices hold 1797; expected 0 to 1796"),
        ("all", [-1], "indices hold -1"),
        ("all", [5, 2, 5], "indices hold 5 more than once"),
        ("test", [4], "both indices and subset 'test' are given"),
    ],
)
def test_arguments_that_cannot_be_used(subset: str, indices: list[int] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Digits(subset, indices=indices)


def test_fingerprints_tell_the_subsets() -> None:
    fingerprints = {data.fingerprint() for data in (Digits(), Digits("test"), Digits("train"), Digits(indices=[1]))}
    assert len(fingerprints) == 4
    assert Digits("test").fingerprint() == Digits(indices=range(4, 1797, 5)).fingerprint()


def test_indices_outside() -> None:
    for index in (-1, 359):
        with pytest.raises(IndexError):
            Digits("test").record(index)
        with pytest.raises(IndexError):
            Digits("test").read(index)
