"""Images and labels from torch's loaders and data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.errors import InputError, UnderfireWarning

IMAGES = smooth_images(6)
SYSTEM = uf.System(uf.Classifier(tiny_network()), "cam")
LABELS = SYSTEM.classifier.logits(IMAGES).argmax(1)
PAIRS = TensorDataset(IMAGES, LABELS)
ATTACK = uf.attacks.preset("adv2", eps="8/255", steps=(1, 2))


@pytest.fixture(scope="module")
def expected() -> Tensor:
    return ATTACK(SYSTEM, IMAGES, LABELS).adversarial


class Items(Dataset[Any]):
    """Items made by a function of image and label."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> Any:
        return self.make(IMAGES[index], int(LABELS[index]))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(IMAGES, LABELS, strict=True)


def levels(image: Tensor) -> Tensor:
    return (image * 255).round().to(torch.uint8)


SOURCES: dict[str, Any] = {
    "pairs": DataLoader(PAIRS, batch_size=4),
    "one batch": DataLoader(PAIRS, batch_size=6),
    "a data set": PAIRS,
    "a stream": Stream(),
    "8 bits": DataLoader(Items(lambda image, label: (levels(image), label)), batch_size=4),
    "dicts": DataLoader(Items(lambda image, label: {"image": image, "label": label, "name": "x"}), batch_size=4),
    "dicts of transformers": DataLoader(Items(lambda image, label: {"pixel_values": image, "labels": label})),
    "one-hot labels": DataLoader(Items(lambda image, label: (image, torch.eye(4)[label])), batch_size=5),
    "NumPy": DataLoader(
        PAIRS, 4, collate_fn=lambda items: (np.stack([i.numpy() for i, _ in items]), [k for _, k in items])
    ),
    "double precision": DataLoader(Items(lambda image, label: (image.double(), label)), batch_size=4),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_loader_is_attacked_as_its_images_are(name: str, expected: Tensor) -> None:
    result = ATTACK(SYSTEM, SOURCES[name])
    assert torch.equal(result.images, IMAGES)
    assert torch.equal(result.labels, LABELS)
    assert torch.equal(result.adversarial, expected)


def test_the_plain_function_and_a_built_attack_take_loaders(expected: Tensor) -> None:
    loader = SOURCES["pairs"]
    assert torch.equal(uf.attack(SYSTEM, loader, eps="8/255", steps=(1, 2)).adversarial, expected)
    assert torch.equal(ATTACK.build(SYSTEM)(SYSTEM, loader).adversarial, expected)
    some = uf.attack(SYSTEM, loader, eps="8/255", steps=(1, 2), count=5)
    assert torch.equal(some.images, IMAGES[:5])


def test_an_image_of_a_loader_that_shuffles_has_the_same_result(expected: Tensor) -> None:
    loader = DataLoader(PAIRS, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(3))
    result = ATTACK(SYSTEM, loader)
    places = [int((image == IMAGES).flatten(1).all(1).nonzero()) for image in result.images]
    assert places != sorted(places)
    assert torch.equal(result.adversarial, expected[places])
    with pytest.warns(UnderfireWarning, match="count is 2, and the loader shuffles"):
        ATTACK(SYSTEM, loader, count=2)


def test_count_stops_reading() -> None:
    read: list[int] = []

    def noted(image: Tensor, label: int) -> tuple[Tensor, int]:
        read.append(label)
        return image, label

    result = ATTACK(SYSTEM, DataLoader(Items(noted), batch_size=2), count=3)
    assert torch.equal(result.images, IMAGES[:3])
    assert len(read) == 4
    assert len(ATTACK(SYSTEM, SOURCES["pairs"], count=100).images) == 6


def picture(image: Tensor, label: int) -> tuple[Image.Image, int]:
    return Image.fromarray(levels(image).permute(1, 2, 0).numpy()), label


def sized(image: Tensor, label: int) -> tuple[Tensor, int]:
    sized.calls = getattr(sized, "calls", 0) + 1  # type: ignore[attr-defined]
    return (image if sized.calls % 2 else image[:, :12]), label  # type: ignore[attr-defined]


NAMELESS = "it has no images; its names are a, b; expected one of image, images"
TWO = r"it has several images \(image, img\).*collate_fn"
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "normalised": (Items(lambda i, k: (4 * i - 2, k)), {}, r"batch 0 of the loader: .*already normalised.*mean=\.\.\."),
    "levels as floats": (Items(lambda i, k: (255 * i, k)), {}, "divide them by 255"),
    "levels as integers": (Items(lambda i, k: (levels(i).int(), k)), {}, r"images\.to\(torch\.uint8\)"),
    "channels last": (Items(lambda i, k: (i.permute(1, 2, 0), k)), {}, r"images\.permute\(0, 3, 1, 2\)"),
    "PIL images": (Items(picture), {}, "cannot be read: TypeError.*transform=torchvision.transforms.ToTensor"),
    "no labels": (Items(lambda i, k: i), {}, "an object of type Tensor; expected .images, labels., or a dict"),
    "three parts": (Items(lambda i, k: (i, k, k)), {}, "it is 3 parts; expected .*collate_fn"),
    "other names": (Items(lambda i, k: {"a": i, "b": k}), {}, NAMELESS),
    "two images": (Items(lambda i, k: {"image": i, "img": i, "label": k}), {}, TWO),
    "other sizes": (DataLoader(Items(sized)), {}, r"batch 1 .* \(3, 12, 16\), and batch 0 .* \(3, 16, 16\)"),
    "empty": (DataLoader(TensorDataset(IMAGES[:0], LABELS[:0])), {}, "the loader is empty"),
    "scores": (Items(lambda i, k: (i, torch.rand(4))), {}, r"labels\.argmax\(1\)"),
    "no images": (PAIRS, {"count": 0}, "count is 0"),
    "labels twice": (PAIRS, {"labels": LABELS}, "TensorDataset brings its own labels"),
    "labels missing": (IMAGES, {}, "labels is missing"),
    "a count of a tensor": (IMAGES, {"labels": LABELS, "count": 2}, r"use images\[:2\]"),
    "data of ours": (uf.data.TensorData(IMAGES, LABELS), {}, r"batch = data\.load\(classifier\.image_size"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_loaders_are_refused_with_the_call_that_mends_it(name: str) -> None:
    source, options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        ATTACK(SYSTEM, source, **options)


def test_the_attacks_name_in_the_place_of_the_labels() -> None:
    with pytest.raises(InputError, match="attack='advedge'"):
        uf.attack(SYSTEM, PAIRS, "advedge")  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [("adv2",), ("adv2", "cam"), ("adv2", "auto", "cam")])
def test_names_in_the_place_of_labels_are_noticed_first(names: tuple[Any, ...]) -> None:
    """Regression: attack(model, loader, "adv2", "cam") said "unknown attack 'cam'"."""
    with pytest.raises(InputError, match=r"labels is 'adv2', and a TensorDataset brings its own labels\. Name the"):
        uf.attack(SYSTEM.classifier, PAIRS, *names, eps=0.1, steps=(1, 1))
