"""Attacks on a network that is being trained: a prepared copy that is refreshed, and the live network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Tiny, smooth_images, tiny_network
from underfire.classifiers import Attackable, Live
from underfire.classifiers.pixels import Pixels
from underfire.errors import InputError
from underfire.system import SystemView
from underfire.zoo.networks import DenseNet, ResNet


def fork() -> nn.Module:
    """Build a network in which a convolution's output is used twice; untrained, wrong folding would not show."""

    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.first_norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.second, self.second_norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.head = nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            inner = self.first(images)
            features = torch.relu(self.first_norm(inner))
            logits: Tensor = self.head((self.second_norm(self.second(features)) + inner).mean((2, 3)))
            return logits

    return Fork()


def parametrised() -> nn.Module:
    network = Tiny()
    nn.utils.parametrizations.weight_norm(network.first)
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "tiny": Tiny,
    "resnet": lambda: ResNet(1, width=8, classes=4),
    "densenet": lambda: DenseNet((2, 2), 8, classes=4),
    "fork": fork,
    "parametrised": parametrised,
}


def untrained(name: str) -> uf.Classifier:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    return uf.Classifier(network.train(), mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25), image_size=16)


def train_step(classifier: uf.Classifier, seed: int) -> None:
    network = classifier.module
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    labels = torch.arange(8) % 4
    F.cross_entropy(network(classifier.normalise(smooth_images(8, seed=seed))), labels).backward()
    optimiser.step()
    optimiser.zero_grad()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count forward passes by their batch sizes."""
    counted: list[int] = []
    original = Pixels.run

    def run(self: Pixels, images: Tensor) -> Tensor:
        counted.append(len(images))
        return original(self, images)

    monkeypatch.setattr(Pixels, "run", run)
    return counted


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_refreshed_copy_is_a_fresh_one(name: str, precision: str, passes: list[int]) -> None:
    """The copy is prepared before training and refreshed after each of three steps, without a forward pass."""
    classifier = untrained(name)
    prepared = classifier.prepare(precision)
    images = smooth_images(8, seed=9).to(prepared.dtype)
    old = prepared.run(images)
    for step in range(3):
        train_step(classifier, step)
        passes.clear()
        fresh = classifier.prepare(precision)
        assert len(passes) >= 3
        passes.clear()
        prepared.refresh_from(classifier.module)
        assert passes == []
        expected = fresh.run(images)
        assert torch.allclose(prepared.run(images), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
        assert prepared.sha256() == classifier.sha256()
    assert not torch.allclose(prepared.run(images), old, atol=1e-2)
    assert not any(value.requires_grad for value in prepared.parameters())
    assert all(part.training for part in classifier.module.modules())


def test_folding_survives_a_refresh() -> None:
    prepared = untrained("resnet").prepare()
    prepared.refresh_from(untrained("resnet"))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in prepared.modules())


def test_a_refresh_may_come_from_another_network_of_the_same_architecture() -> None:
    classifier, other = uf.Classifier(tiny_network()), uf.Classifier(tiny_network(seed=1))
    prepared = classifier.prepare()
    prepared.refresh_from(other)
    assert prepared.sha256() == other.sha256()
    assert torch.allclose(prepared.run(smooth_images(8)), other.logits(smooth_images(8)), atol=1e-4)


def test_a_refresh_from_another_architecture_is_refused() -> None:
    prepared = uf.Classifier(tiny_network()).prepare()
    before = {name: value.clone() for name, value in prepared.state_dict().items()}
    for other in (Tiny(classes=5), ResNet(1, classes=4)):
        with pytest.raises(InputError, match="network does not fit this prepared copy"):
            prepared.refresh_from(other)
    assert all(torch.equal(value, before[name]) for name, value in prepared.state_dict().items())


def surface(network: Attackable) -> Attackable:
    return network


def test_live_and_prepared_have_one_surface(classifier: uf.Classifier) -> None:
    live, prepared = surface(classifier.live()), surface(classifier.prepare())
    for name in ("precision", "dtype", "mean", "std", "features", "forwards", "backwards"):
        assert getattr(live, name) == getattr(prepared, name), name
    assert live.sha256() == prepared.sha256() == classifier.sha256()
    assert live.module is classifier.module
    assert uf.Classifier(tiny_network().double()).live().precision == "float64"


def test_a_live_network_is_read_in_evaluation_mode_and_keeps_its_mode(classifier: uf.Classifier) -> None:
    images = smooth_images(8)
    expected = classifier.logits(images)
    classifier.module.train()
    classifier.module.norm.eval()
    modes = [part.training for part in classifier.module.modules()]
    live = classifier.live()
    assert torch.allclose(live.run(images), expected, atol=1e-5)
    assert torch.allclose(live.record(images).logits, expected, atol=1e-5)
    assert live.forwards == 2
    assert [part.training for part in classifier.module.modules()] == modes
    with pytest.raises(RuntimeError):
        live.run(torch.rand(1, 7, 3, 3))
    assert [part.training for part in classifier.module.modules()] == modes


@pytest.mark.parametrize("named", [None, "last"])
def test_a_look_at_the_order_of_axes_changes_no_statistics(named: str | None) -> None:
    """Regression: with as many images as tokens, one image passed in training mode, so that batch norms moved."""

    class AsMany(nn.Module):
        """A batch norm before 4 x 4 tokens that are averaged."""

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8)
            self.last, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.last(self.norm(self.stem(images)).flatten(2).transpose(1, 2))
            logits: Tensor = self.head(tokens.mean(1))
            return logits

    network = AsMany().train()
    live = uf.Classifier(network, image_size=16, features=named).live()
    before = {name: value.clone() for name, value in network.named_buffers()}
    recorded = live.record(smooth_images(16))
    assert recorded.features is not None
    assert tuple(recorded.features.shape) == (16, 8, 4, 4)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert all(module.training for module in network.modules())


def test_a_live_network_follows_its_training() -> None:
    classifier = untrained("resnet")
    live = classifier.live()
    for step in range(2):
        train_step(classifier, step)
        assert torch.allclose(live.run(smooth_images(8)), classifier.logits(smooth_images(8)), atol=1e-5)
        assert live.sha256() == classifier.sha256()


def test_gradients_flow_to_the_parameters(classifier: uf.Classifier) -> None:
    live = classifier.live()
    recorded = live.record(smooth_images(8))
    assert recorded.weight is classifier.module.head.weight
    assert recorded.features.requires_grad
    parameters = list(classifier.module.parameters())
    gradients = torch.autograd.grad(recorded.logits.square().sum(), parameters)
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients[:-1])
    assert all(parameter.grad is None for parameter in parameters)


@pytest.mark.parametrize("interpreter", ["cam", "gradcam", "grad"])
@pytest.mark.parametrize("name", ["resnet", "tiny"])
def test_a_system_view_reads_a_live_network_in_training(name: str, interpreter: str) -> None:
    """Maps and their gradients in the image equal those of a fresh prepared copy."""
    classifier = untrained(name)
    train_step(classifier, 0)
    system = uf.System(classifier, interpreter)
    prepared_view = system.view()
    live = classifier.live()
    live_view = SystemView(live, prepared_view.views)
    assert isinstance(live_view.prepared, Live)
    classes, ids = torch.arange(8) % 4, torch.arange(8)
    found = []
    for view in (prepared_view, live_view):
        images = smooth_images(8).requires_grad_()
        states = view.begin(images, classes, ids)
        reading, _ = view.read(images, lambda _: classes, states, graph=True)
        maps = reading.maps[interpreter]
        (gradient,) = torch.autograd.grad(maps.square().sum() + reading.logits.sum(), images)
        found.append((reading.logits, maps, gradient))
    for mine, other in zip(*found, strict=True):
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-3 * float(other.detach().abs().max()))
    assert live.forwards
    assert all(part.training for part in classifier.module.modules())
    assert all(parameter.grad is None for parameter in classifier.module.parameters())
