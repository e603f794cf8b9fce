"""timm's networks: their own data configuration, and attacks on a ConvNeXt and a vision transformer."""

from __future__ import annotations

import math

import pytest
import torch

import underfire as uf
from tests.classifiers.sources.models import attack, package, photos
from underfire.data import Resizing
from underfire.errors import InputError, InterpreterError


def test_a_convnext() -> None:
    package("timm")
    classifier = uf.classifiers.load("timm:convnext_atto:random", image_size=64)
    attack(classifier, "gradcam")
    images, labels = photos(classifier)
    with pytest.raises(InterpreterError, match=r"use interpreters\.GradCAM"):
        uf.interpreters.CAM().maps(classifier, images, labels)


def test_a_vision_transformer() -> None:
    """Fused attention has no second derivative; the prepared copy takes the kernel that has one."""
    package("timm")
    classifier = uf.classifiers.load("timm:vit_tiny_patch16_224:random", image_size=64)
    attack(classifier, "grad")
    images, labels = photos(classifier)
    with pytest.raises(InterpreterError, match=r"use interpreters\.GradCAM\(\)"):
        uf.interpreters.CAM().maps(classifier, images, labels)
    assert uf.interpreters.GradCAM().maps(classifier, images, labels).shape == (2, 4, 4)


def test_the_gradient_of_a_transformers_map_is_right() -> None:
    """Along the gradient, the map's loss changes as the gradient says: central differences in float64."""
    package("timm")
    classifier = uf.classifiers.load("timm:vit_tiny_patch16_224:random", image_size=32)
    system = uf.System(classifier, uf.interpreters.Grad())
    view = system.view("float64")
    classes = torch.tensor([3] * 8)

    def loss(image: torch.Tensor) -> torch.Tensor:
        reading, _ = view.read(image, lambda _: classes, {"grad": {}}, graph=True)
        return reading.maps["grad"].square().sum()

    torch.manual_seed(0)
    image = torch.rand(8, 3, 32, 32, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(image), image)
    direction = torch.randn_like(image)
    step = 1e-6
    ahead, behind = (loss((image + sign * step * direction).detach().requires_grad_()) for sign in (1, -1))
    expected = float((ahead - behind).detach()) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "inception_v3"])
def test_preparation_is_timms_own(name: str) -> None:
    timm = package("timm")
    config = timm.data.resolve_model_data_config(timm.create_model(name, pretrained=False))
    classifier = uf.classifiers.load(f"timm:{name}:random")
    side = config["input_size"][1]
    assert classifier.image_size == (side, side)
    assert classifier.resizing == Resizing(math.floor(side / config["crop_pct"]), config["interpolation"])
    assert (classifier.mean, classifier.std) == (tuple(config["mean"]), tuple(config["std"]))
    assert (classifier.class_names or ("",))[0] == "tench, Tinca tinca"


def test_one_channel_and_other_classes() -> None:
    package("timm")
    classifier = uf.classifiers.load("timm:resnet10t:random", channels=1, classes=7)
    assert (classifier.channels, len(classifier.mean or ()), classifier.class_names) == (1, 1, None)
    assert classifier.logits(torch.rand(1, 1, 64, 64)).shape == (1, 7)


def test_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    package("timm")
    with pytest.raises(InputError, match="Did you mean 'convnext_tiny'"):
        uf.classifiers.load("timm:convnext_tinny")
    with pytest.raises(InputError, match=r"name the set behind a dot \(timm:resnet50\.TAG\)"):
        uf.classifiers.load("timm:resnet50", weights="a1_in1k")
    monkeypatch.setattr("underfire.classifiers.sources.timm_models.unreachable", lambda *_: "no answer")
    with pytest.raises(InputError, match=r"cannot be downloaded \(no answer\).*--weights FILE.*timm:resnet50:random"):
        uf.classifiers.load("timm:resnet50")


def test_other_classes_than_the_weights_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm itself would silently put a random head on pretrained features."""
    package("timm")
    monkeypatch.setattr("underfire.classifiers.sources.timm_models.unreachable", lambda *_: None)
    with pytest.raises(InputError, match="classes is 7, and timm's weights for resnet18 have 1000"):
        uf.classifiers.load("timm:resnet18", classes=7)
