"""The drawn data set: which picture is which, that it is always the same one, and where its object is."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from underfire.data import ImageData, Record, Resizing, Scenes, TensorData, open_data
from underfire.errors import DataError, InputError

CLASSES = ("arrow", "crescent", "cross", "fish", "heart", "house", "key", "mug", "star", "umbrella")
PINNED = {
    "test": "e985f5f88fb5e0366910e170dbf531f41bc43b1f0ca21d57a6186d5255e40e1b",
    "train": "f6452235afca03e9de87f2f9ea8b7c8430e13e28f08a79a15bc685ceaef4f513",
}


def pixels(data: ImageData, index: int) -> bytes:
    return data.read(index).tobytes()


def test_records() -> None:
    data = Scenes("test")
    assert len(data) == 1000
    assert len(Scenes("train")) == 10_000
    assert data.class_names == CLASSES
    assert data.name == "scenes-test"
    record = data.record(12)
    assert record == Record("scenes-test/00012", "scenes-test/00012", record.label)
    assert Scenes("train").record(9999).image_id == "scenes-train/09999"
    image = data.read(12)
    assert (image.mode, image.size) == ("RGB", (64, 64))


def test_every_ten_pictures_hold_each_class_once_in_an_order_of_their_own() -> None:
    for subset in ("test", "train"):
        data = Scenes(subset)
        labels = [data.record(index).label for index in range(len(data))]
        tens = [tuple(labels[start : start + 10]) for start in range(0, len(labels), 10)]
        assert all(sorted(ten) == list(range(10)) for ten in tens)
        assert len(set(tens)) > 0.99 * len(tens)
        # The first of each ten is any class: 10 +- 3 of 100, 100 +- 9.5 of 1000.
        firsts = Counter(ten[0] for ten in tens)
        expected = len(tens) / 10
        assert all(abs(firsts[label] - expected) < 4 * expected**0.5 for label in range(10))


@pytest.mark.parametrize("subset", ["test", "train"])
def test_the_pictures_never_change(subset: str) -> None:
    """Whoever changes them raises GENERATOR: shipped weights, cards and tables refer to these pictures."""
    data = Scenes(subset)
    digest = hashlib.sha256()
    for index in (*range(12), 100, 999):
        digest.update(pixels(data, index))
        digest.update(data.mask(index).numpy().tobytes())
        digest.update(bytes([data.record(index).label]))
    assert digest.hexdigest() == PINNED[subset]


def test_a_picture_depends_on_subset_and_number_alone() -> None:
    data, few = Scenes("train"), Scenes("train", count=7)
    backwards = {index: pixels(data, index) for index in (6, 4, 0, 4)}
    assert len(few) == 7
    for index in (0, 4, 6):
        assert few.record(index) == data.record(index)
        assert pixels(few, index) == backwards[index]
    more = Scenes("test", count=1003)
    assert pixels(more, 3) == pixels(Scenes("test"), 3)
    assert more.record(1002).image_id == "scenes-test/01002"


def test_another_process_draws_the_same() -> None:
    code = "import hashlib, sys; from underfire.data import Scenes; d = Scenes('test')\n"
    code += "sys.stdout.write(hashlib.sha256(d.read(77).tobytes() + d.read(5).tobytes()).hexdigest())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    data = Scenes("test")
    assert done.stdout == hashlib.sha256(pixels(data, 77) + pixels(data, 5)).hexdigest()


def test_no_picture_comes_twice() -> None:
    train, test = Scenes("train", count=60), Scenes("test", count=60)
    seen = {pixels(data, index) for data in (train, test) for index in range(60)}
    assert len(seen) == 120
    masks = {data.mask(index).numpy().tobytes() for data in (train, test) for index in range(60)}
    assert len(masks) == 120


def test_drawing_leaves_global_random_numbers_alone() -> None:
    states = np.random.get_state()[1].tobytes(), torch.get_rng_state()
    pixels(Scenes("test"), 0)
    assert np.random.get_state()[1].tobytes() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


def test_the_fingerprint_tells_subset_and_count() -> None:
    prints = {Scenes("test").fingerprint(), Scenes("train").fingerprint(), Scenes("test", count=999).fingerprint()}
    assert len(prints) == 3
    assert Scenes("train", count=1000).fingerprint() not in prints
    assert Scenes("test").fingerprint() == Scenes("test", count=1000).fingerprint()


def test_the_fingerprint_follows_the_pixels_and_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Scenes("test").fingerprint()
    monkeypatch.setattr("underfire.data.scenes.GENERATOR", 10_000)
    assert Scenes("test").fingerprint() != before
    monkeypatch.undo()
    monkeypatch.setattr(Scenes, "read", lambda self, index: Image.new("RGB", (64, 64)))
    assert Scenes("test").fingerprint() != before


def test_names() -> None:
    for spec, count, name in (
        ("scenes", 1000, "scenes-test"),
        ("scenes:test", 1000, "scenes-test"),
        ("scenes:train", 10_000, "scenes-train"),
    ):
        data = open_data(spec)
        assert isinstance(data, Scenes)
        assert (len(data), data.name) == (count, name)


@pytest.mark.parametrize(
    ("subset", "count", "message"),
    [
        ("tset", None, r"unknown subset of scenes 'tset'\. Did you mean 'test'\? Known: test, train\."),
        ("test", 0, r"count is 0; expected at least 1 picture, or None for 1,000\."),
        ("train", -5, r"count is -5; expected at least 1 picture, or None for 10,000\."),
    ],
)
def test_arguments_that_cannot_be_used(subset: str, count: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenes(subset, count=count)


def test_indices_outside() -> None:
    data = Scenes("test", count=5)
    for index in (-1, 5):
        for method in (data.record, data.read, data.mask):
            with pytest.raises(IndexError, match=f"index {index} is not in 0 .. 4"):
                method(index)


class TestMasks:
    """``masks``: the true masks as the images are prepared, for any source of images."""

    def test_at_their_own_size_they_are_the_masks(self) -> None:
        data = Scenes("test", count=6)
        masks = data.masks(indices=[4, 1])
        assert masks is not None
        assert masks.dtype == torch.bool
        assert torch.equal(masks, torch.stack([data.mask(4), data.mask(1)]))
        everything = data.masks()
        assert everything is not None
        assert everything.shape == (6, 64, 64)

    @pytest.mark.parametrize("resizing", [Resizing(), Resizing(to=(40, 60), interpolation="bilinear")])
    def test_they_go_where_the_images_go(self, resizing: Resizing) -> None:
        """A white object on black, prepared as an image, is its mask."""

        class Silhouettes(Scenes):
            def read(self, index: int) -> Image.Image:
                return Image.fromarray(self.mask(index).numpy().astype(np.uint8) * 255).convert("RGB")

        data = Silhouettes("test", count=5)
        for size in ((32, 24), (40, 60)):
            masks = data.masks(size, range(1, 5), resizing)
            assert masks is not None
            assert torch.equal(masks, data.load(size, 1, range(1, 5), resizing).images[:, 0] >= 0.5)
            assert 0.02 < masks.double().mean() < 0.6

    def test_sources_without_masks(self) -> None:
        data = TensorData(torch.zeros(2, 3, 4, 4), [0, 1])
        assert data.mask(1) is None
        assert data.masks() is None
        assert open_data("digits").masks((8, 8), [3]) is None
        with pytest.raises(IndexError):
            data.mask(2)

    def test_nothing_chosen(self) -> None:
        masks = Scenes("test").masks((7, 9), [])
        assert masks is not None
        assert masks.shape == (0, 7, 9)

    def test_masks_of_several_sizes_need_a_size(self) -> None:
        class TwoSizes(Scenes):
            def mask(self, index: int) -> torch.Tensor:
                return super().mask(index)[: 64 - index]

        data = TwoSizes("test", count=2)
        with pytest.raises(DataError, match="masks of 'scenes-test' have different sizes; expected a size"):
            data.masks()
        masks = data.masks((16, 16))
        assert masks is not None
        assert masks.shape == (2, 16, 16)
