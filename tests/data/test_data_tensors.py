"""Images of a tensor."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from underfire.data import Record, TensorData
from underfire.data.tensors import pixel_id
from underfire.errors import InputError


def noise(channels: int = 3, count: int = 4, size: tuple[int, int] = (5, 6)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, *size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_come_back_exactly(channels: int) -> None:
    images = noise(channels)
    batch = TensorData(images, [0, 1, 2, 1]).load(channels=channels)
    assert torch.equal(batch.images, images.float() / 255)
    assert batch.labels.tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_on_the_grid_come_back_exactly(dtype: torch.dtype) -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    batch = TensorData(images.to(dtype) / 255, [0]).load(channels=1)
    assert torch.equal(batch.images.mul(255).round().to(torch.uint8), images)


def test_half_precision_is_rounded_to_the_nearest_level() -> None:
    one = int(torch.ones((), dtype=torch.float16).view(torch.int16))
    images = torch.arange(one + 1, dtype=torch.int16).view(torch.float16).reshape(1, 1, 1, -1)  # all of [0, 1]
    prepared = TensorData(images, [0]).load(channels=1).images.double()
    assert float((prepared - images.double()).abs().max()) <= 0.5 / 255 + 1e-7


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_floats_are_rounded_to_the_nearest_level(values: list[float]) -> None:
    images = torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)
    prepared = TensorData(images, [0]).load(channels=1).images.double()
    assert float((prepared - images).abs().max()) <= 0.5 / 255 + 1e-7


def test_the_tolerance_is_clamped() -> None:
    images = torch.tensor([-9e-7, 1 + 9e-7], dtype=torch.float64).reshape(1, 1, 1, 2)
    assert TensorData(images, [0]).load(channels=1).images.flatten().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (-2.118, 2.64, r"range over \[-2\.118, 2\.64\]; expected pixels in \[0, 1\].*already normalised"),
        (-1e-5, 1.0, r"range over \[-1e-05, 1\].*already normalised"),
        (0.0, 1.00001, r"range over \[0, 1\].*"),
        (0.0, 255.0, r"range over \[0, 255\].*8-bit levels: divide them by 255"),
        (0.0, float("inf"), r"range over \[0, inf\]"),
        (0.0, float("nan"), "images hold NaN"),
    ],
)
def test_values_out_of_range(low: float, high: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TensorData(torch.tensor([low, high]).reshape(1, 1, 1, 2), [0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 4, 4), r"shape \(3, 4, 4\); expected N x C x H x W"),
        (torch.zeros(2, 4, 4, 3), r"4 channels; the channels seem to be last: use images.permute\(0, 3, 1, 2\)"),
        (torch.zeros(2, 8, 8, 5), r"8 channels; the channels seem to be last"),
        (torch.zeros(2, 65, 70, 70), "65 channels; at most 64 work"),
        (torch.zeros(0, 3, 4, 4), "at least one image"),
        (torch.zeros(1, 3, 0, 4), "at least one pixel"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), "type torch.int64; expected torch.uint8"),
        (np.zeros((1, 3, 4, 4)), "type ndarray; expected a torch.Tensor"),
    ],
)
def test_images_that_cannot_be_used(images: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TensorData(images, [0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "3 labels for 4 images"),
        ([0, 1, 2, -1], r"labels\[3\]: label -1 is negative"),
        ([0, 1, 3, 0], r"labels\[2\]: label 3 has no class name; expected 0 to 2"),
        ([0.0, 1.0, 2.0, 0.0], "type torch.float32; expected integers"),
        (torch.tensor([True, False, True, False]), "type torch.bool; expected integers"),
        (torch.eye(4), r"shape \(4, 4\); expected N integers; for one-hot labels pass labels.argmax\(1\)"),
        (torch.tensor(3), r"shape \(\)"),
    ],
)
def test_labels_that_cannot_be_used(labels: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TensorData(noise(), labels, class_names=["a", "b", "c"])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b"], "2 ids for 4 images"),
        (["a", "b", "c", "b"], r"ids\[1\] and ids\[3\] are both 'b'"),
        (["a", "b", "c", 4], r"ids\[3\] is 4 of type int; expected a string"),
    ],
)
def test_ids_that_cannot_be_used(ids: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TensorData(noise(), [0] * 4, ids)


def test_given_names() -> None:
    data = TensorData(noise(), torch.tensor([0, 1, 1, 0]), ["a", "b", "c", "d"], ["cat", "dog", "bird"], name="x")
    assert data.class_names == ("cat", "dog", "bird")
    assert data.record(2) == Record("c", "c", 1)
    assert data.name == "x"
    assert TensorData(noise(), [0, 4, 1, 0]).class_names == ("0", "1", "2", "3", "4")


def test_ids_follow_the_pixels_and_nothing_else() -> None:
    images = noise()
    data = TensorData(images, [0] * 4)
    ids = [data.record(index).image_id for index in range(4)]
    assert len(set(ids)) == 4
    assert all(len(name) == 32 for name in ids)
    order = torch.tensor([2, 0, 3])
    other = TensorData(images[order].double() / 255, [1, 2, 3])
    assert [other.record(index).image_id for index in range(3)] == [ids[2], ids[0], ids[3]]
    slightly_off = (images.double() / 255 + 1e-4).clamp(max=1)
    assert TensorData(slightly_off, [0] * 4).record(1).image_id == ids[1]


def test_ids_tell_shapes_apart_and_ignore_memory_formats() -> None:
    flat = torch.zeros(3, 2, 8, dtype=torch.uint8)
    assert pixel_id(flat) != pixel_id(flat.reshape(3, 4, 4))
    image = noise()[:1]
    assert pixel_id(image.to(memory_format=torch.channels_last)[0]) == pixel_id(image[0])


def test_an_id_is_the_same_on_every_machine() -> None:
    assert pixel_id(torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)) == "d65d49714a5b7e53c4a5edf815f8f782"


def test_the_callers_tensor_is_neither_changed_nor_shared() -> None:
    for images in (noise(), (noise().double() / 255).requires_grad_()):
        before = images.detach().clone()
        data = TensorData(images, [0] * 4)
        assert torch.equal(images.detach(), before)
        fingerprint, first = data.fingerprint(), data.read(0).tobytes()
        images.detach().zero_()
        assert data.fingerprint() == fingerprint
        assert data.read(0).tobytes() == first


def test_fingerprints_tell_everything_apart() -> None:
    images = noise()
    changed = images.clone()
    changed[0, 0, 0, 0] ^= 1
    ids = ["a", "b", "c", "d"]
    fingerprints = [
        TensorData(images, [0, 1, 0, 1], ids).fingerprint(),
        TensorData(changed, [0, 1, 0, 1], ids).fingerprint(),
        TensorData(images, [1, 1, 0, 1], ids).fingerprint(),
        TensorData(images, [0, 1, 0, 1], ids[::-1]).fingerprint(),
        TensorData(images, [0, 1, 0, 1], ids, ["cat", "dog"]).fingerprint(),
        TensorData(images.reshape(4, 3, 6, 5), [0, 1, 0, 1], ids).fingerprint(),
    ]
    assert len(set(fingerprints)) == 6
    assert TensorData(images, [0, 1, 0, 1], ids).fingerprint() == fingerprints[0]


def test_indices_outside() -> None:
    data = TensorData(noise(), [0] * 4)
    for index in (-1, 4):
        with pytest.raises(IndexError):
            data.record(index)
        with pytest.raises(IndexError):
            data.read(index)


def test_it_can_be_sent_to_a_worker() -> None:
    data = TensorData(noise(), [0] * 4)
    copy = pickle.loads(pickle.dumps(data))
    assert copy.fingerprint() == data.fingerprint()
    assert repr(copy) == "TensorData('tensor', 4 images, 1 class)"


@pytest.mark.parametrize("indices", [5, [0.5], ["a"], "01"])
def test_indices_that_are_none(indices: Any) -> None:
    data = TensorData(noise(), [0] * 4)
    for ask in (lambda: data.load(indices=indices), lambda: data.masks((4, 4), indices)):
        with pytest.raises(InputError, match=r"indices is .*; expected whole numbers"):
            ask()
    assert len(data.load(indices=iter([3, 1])).images) == 2


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_bands_are_not_converted(channels: int) -> None:
    """Regression: only one or three channels were taken, although networks for five bands work."""
    pixels = torch.arange(3 * channels * 6 * 8).reshape(3, channels, 6, 8).mul(7).remainder(256).to(torch.uint8)
    data = TensorData(pixels, [0, 1, 2])
    assert torch.equal(data.load(channels=channels).images, pixels / 255)
    assert data.load((3, 4), channels).images.shape == (3, channels, 3, 4)
    unreadable = data.load(channels=3).unreadable
    assert f"has {channels} channels, and the classifier takes 3" in unreadable[0][1]
