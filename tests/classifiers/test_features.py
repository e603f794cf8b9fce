"""Features and head are found in common architectures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.classifiers.sources.models import package
from underfire.errors import InputError, InterpreterError
from underfire.interpreters.rts.head import head_selector

LINEAR = {
    "resnet18": 512,
    "densenet121": 1024,
    "mobilenet_v2": 1280,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "regnet_y_400mf": 440,
}
NOT_LINEAR = {"vgg11": 512, "convnext_tiny": 768, "mobilenet_v3_small": 576, "alexnet": 256}


def build(name: str) -> nn.Module:
    models = package("torchvision").models
    torch.manual_seed(0)
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return models.get_model(name, weights=None, num_classes=5, **extra).eval()


@pytest.mark.parametrize("name", [*LINEAR, *NOT_LINEAR])
def test_features_and_head(name: str) -> None:
    classifier = uf.Classifier(build(name))
    with torch.no_grad():
        recorded = classifier.record(torch.rand(2, 3, 96, 96))
    assert recorded.features is not None
    assert recorded.features.shape[:2] == (2, (LINEAR | NOT_LINEAR)[name])
    assert recorded.features.shape[2] > 1
    assert recorded.weight is not None
    assert recorded.weight.shape[0] == 5
    assert (recorded.cam_error() < 1e-4) == (name in LINEAR)


def test_squeezenet() -> None:
    recorded = uf.Classifier(build("squeezenet1_1")).record(torch.rand(2, 3, 96, 96))
    assert recorded.features is not None
    assert recorded.features.shape[:2] == (2, 5)
    assert recorded.cam_error() < 1e-6


@pytest.mark.parametrize("name", ["densenet121", "resnet18"])
def test_cam_is_the_formula_on_the_named_parts(name: str) -> None:
    network = build(name)
    images, classes = torch.rand(2, 3, 64, 64), torch.tensor([1, 4])
    maps = uf.interpreters.CAM().maps(uf.Classifier(network), images, classes)
    with torch.no_grad():
        if name == "densenet121":
            features, weight = torch.relu(network.features(images)), network.classifier.weight
        else:
            parts = list(network.children())
            features, weight = nn.Sequential(*parts[:-2])(images), network.fc.weight
    for index in range(2):
        raw = sum(weight[classes[index], k] * features[index, k] for k in range(features.shape[1]))
        expected = (raw - raw.min()) / (raw.max() - raw.min())
        assert torch.allclose(maps[index], expected.detach(), atol=1e-4)


def test_cam_is_refused_where_the_head_is_not_linear() -> None:
    with pytest.raises(InterpreterError, match=r"use interpreters\.GradCAM"):
        uf.interpreters.CAM().maps(
            uf.Classifier(build("convnext_tiny")), torch.rand(1, 3, 64, 64), torch.zeros(1, dtype=torch.int64)
        )


@pytest.mark.parametrize(
    ("hidden", "words"), [(False, "has no linear layer as its head"), (True, "returns 8 values, not its 5 logits")]
)
def test_a_head_that_is_written_as_a_product_is_refused_with_the_remedy(hidden: bool, words: str) -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.hidden = nn.Conv2d(3, 8, 3), nn.Linear(8, 8)
            self.weight = nn.Parameter(torch.rand(5, 8))

        def forward(self, images: Tensor) -> Tensor:
            pooled = self.convolution(images).relu().mean((2, 3))
            return torch.einsum("nc,kc->nk", self.hidden(pooled) if hidden else pooled, self.weight)

    with pytest.raises(InterpreterError, match=f"{words}; .* einsum.* write it as nn.Linear or F.linear"):
        uf.interpreters.CAM().maps(uf.Classifier(Product()), torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))


class AllConvolutional(nn.Module):
    """A map for each class, averaged over space: no linear layer at the end. A gate inside has linear layers."""

    def __init__(self, gated: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 5, 1)
        self.gate = nn.Linear(8, 8) if gated else None

    def maps(self, images: Tensor) -> Tensor:
        features = self.first(images).relu()
        if self.gate is not None:
            features = features * self.gate(features.mean((2, 3))).sigmoid()[:, :, None, None]
        return F.softplus(self.last(features))

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.maps(images), 1).flatten(1)


@pytest.mark.parametrize("gated", [False, True])
def test_the_map_of_a_network_without_linear_layers_is_the_channel_of_the_class(gated: bool) -> None:
    """Regression: CAM refused SqueezeNet and its kind, whose logits it is made for."""
    network = AllConvolutional(gated).eval()
    images, classes = torch.rand(3, 3, 16, 16), torch.tensor([4, 0, 2])
    maps = uf.interpreters.CAM().maps(uf.Classifier(network), images, classes)
    for index, own in enumerate(network.maps(images).detach()):
        channel = own[classes[index]]
        expected = (channel - channel.min()) / (channel.max() - channel.min())
        assert torch.allclose(maps[index], expected, atol=1e-5)
    assert torch.allclose(maps, uf.interpreters.GradCAM().maps(uf.Classifier(network), images, classes), atol=1e-5)
    result = uf.attack(uf.Classifier(network), images, network(images).argmax(1), "auto", ["cam"], budget=2)
    assert torch.isfinite(result.maps["cam"]).all()


def test_a_true_head_is_no_identity_where_channels_are_as_many_as_classes() -> None:
    """Regression: its features were taken for maps of the classes, by RTS and by robust training."""
    torch.manual_seed(0)
    body = nn.Conv2d(3, 10, 3)
    for head in (
        [nn.Flatten(), nn.Linear(10 * 36, 10)],
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 10)],
    ):
        recorded = uf.Classifier(nn.Sequential(body, *head), image_size=8).record(torch.rand(2, 3, 8, 8))
        assert recorded.weight is not None
        assert recorded.weight.shape[1] != 10
        with pytest.raises(InterpreterError, match="no linear function of its mean features"):
            head_selector(recorded, torch.tensor([0, 1]))


def test_a_single_logit_that_is_the_mean_of_one_channel() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    recorded = uf.Classifier(network, image_size=8).record(torch.rand(2, 3, 8, 8))
    assert recorded.cam_error() < 1e-6


def test_a_head_that_is_a_convolution_of_single_pixels() -> None:
    """Regression: it was taken for no head at all. Gates inside may be written in the same way."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
    head = nn.Conv2d(8, 5, 1)
    network = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), head, nn.Flatten()).eval()
    images, classes = torch.rand(2, 3, 16, 16), torch.tensor([4, 0])
    maps = uf.interpreters.CAM().maps(uf.Classifier(network), images, classes)
    for index, features in enumerate(body(images).detach()):
        raw = torch.einsum("k,khw->hw", head.weight.detach()[classes[index], :, 0, 0], features)
        assert torch.allclose(maps[index], (raw - raw.min()) / (raw.max() - raw.min()), atol=1e-5)


def test_grad_cam_works_where_cam_does_not() -> None:
    classifier = uf.Classifier(build("vgg11"))
    maps = uf.interpreters.GradCAM().maps(classifier, torch.rand(1, 3, 64, 64), torch.zeros(1, dtype=torch.int64))
    assert maps.shape == (1, 2, 2)


class NoPooling(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :4] * 2


def test_no_convolutional_features_at_all() -> None:
    class Mlp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(images[:, 0, 0, :8] * 2)

    with pytest.raises(InterpreterError, match="Name the module"):
        uf.interpreters.CAM().maps(uf.Classifier(Mlp()), torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64))


def test_features_by_name(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    network = classifier.module
    named = uf.Classifier(network, mean=classifier.mean, std=classifier.std, features="act")
    expected = uf.interpreters.CAM().maps(classifier, images, labels)
    assert torch.allclose(uf.interpreters.CAM().maps(named, images, labels), expected, atol=1e-6)


def test_features_before_an_in_place_activation_are_not_changed_by_it(images: Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    )
    with torch.no_grad():
        recorded = uf.Classifier(network, features="0").record(images)
        assert recorded.features is not None
        assert torch.equal(recorded.features, network[0](images))
        assert float(recorded.features.min()) < 0


def test_an_unknown_name_for_the_features(tiny: nn.Module) -> None:
    with pytest.raises(InputError, match="Did you mean 'second'"):
        uf.Classifier(tiny, features="secnd")


class Named(nn.Module):
    """Features, tokens that attend to each other, pooling, a norm and a head: by the names of arguments, or without."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm, self.qkv, self.head = nn.BatchNorm1d(8), nn.Linear(8, 24), nn.Linear(8, 4)

    def call(self, function: Callable[..., Tensor], given: Tensor, *others: Any, **more: Any) -> Tensor:
        return function(*others, input=given, **more) if self.named else function(given, *others, **more)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images).relu()
        tokens = self.call(F.layer_norm, features.flatten(2).mT, normalized_shape=(8,))
        query, key, value = self.call(F.linear, tokens, weight=self.qkv.weight).chunk(3, -1)
        tokens = F.scaled_dot_product_attention(query, key, value)
        features = features + tokens.mT.reshape(features.shape)
        pooled = self.call(torch.flatten, self.call(F.adaptive_avg_pool2d, features, output_size=1), start_dim=1)
        norm, head = self.norm, self.head
        moments = {"running_mean": norm.running_mean, "running_var": norm.running_var}
        normed = self.call(F.batch_norm, pooled, weight=norm.weight, bias=norm.bias, **moments)
        return self.call(F.linear, normed, weight=head.weight, bias=head.bias)


def test_arguments_may_be_given_by_name() -> None:
    """Regression: a linear layer that was called with ``input=`` behind a layer norm ended in an error."""
    torch.manual_seed(0)
    networks = [Named(True).eval(), Named(False).eval()]
    networks[1].load_state_dict(networks[0].state_dict())
    images, classes = torch.rand(2, 3, 16, 16), torch.tensor([1, 2])
    for name in ("cam", "gradcam"):
        interpreter = uf.interpreters.create(name)
        one, other = (interpreter.maps(uf.Classifier(network), images, classes) for network in networks)
        assert torch.equal(one, other)
        assert float(one.amax()) == 1
