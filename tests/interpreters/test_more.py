"""SmoothGrad, integrated gradients, Grad-CAM++ and LayerCAM against captum, closed forms and slow replicas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.interpreters import (
    LRP,
    GradCAM,
    GradCAMPlusPlus,
    IntegratedGradients,
    Interpreter,
    LayerCAM,
    SmoothGrad,
)
from underfire.interpreters.maps import log_odds

CLASSES = torch.tensor([0, 1, 2, 3, 1, 0])


def min_max(values: Tensor) -> Tensor:
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    return (values - low) / (high - low)


@pytest.mark.parametrize("baseline", [0.0, 0.6])
def test_integrated_gradients_against_captum(classifier: uf.Classifier, images: Tensor, baseline: float) -> None:
    captum = pytest.importorskip("captum.attr")

    def forward(inputs: Tensor) -> Tensor:
        return log_odds(classifier.run(inputs), CLASSES.repeat(len(inputs) // len(CLASSES)))

    theirs = captum.IntegratedGradients(forward, multiply_by_inputs=True).attribute(
        images, baselines=baseline, n_steps=12, method="riemann_middle"
    )
    expected = min_max(theirs.abs().amax(1))
    found = IntegratedGradients(samples=12, baseline=baseline).maps(classifier, images, CLASSES)
    assert torch.allclose(found, expected.float(), atol=1e-4)


def test_integrated_gradients_are_complete(classifier: uf.Classifier, images: Tensor) -> None:
    """The contributions add up to the difference from the baseline (Sundararajan et al. 2017, proposition 1)."""
    interpreter = IntegratedGradients(samples=400)
    total = torch.zeros_like(images)
    for index in range(400):
        total += interpreter._gradient(classifier.run, interpreter.point(images, CLASSES, index), CLASSES, False)
    contributed = interpreter.attribution(images, total / 400).sum((1, 2, 3))
    with torch.no_grad():
        ends = [log_odds(classifier.run(x), CLASSES) for x in (images, torch.zeros_like(images))]
    assert torch.allclose(contributed, ends[0] - ends[1], atol=0.05)


def test_smoothgrad_is_the_mean_over_the_noise(classifier: uf.Classifier, images: Tensor) -> None:
    interpreter = SmoothGrad(samples=5, noise=0.05)
    ids = torch.arange(6)
    total = torch.zeros_like(images)
    for index in range(5):
        x = interpreter.point(images, ids, index).clone().requires_grad_()
        total += torch.autograd.grad(log_odds(classifier.run(x), CLASSES).sum(), x)[0]
    found = interpreter.maps(classifier, images, CLASSES, ids=ids)
    assert torch.allclose(found, min_max(total.abs().amax(1)), atol=1e-5)
    drawn = torch.stack([interpreter.point(images, ids, index) - images for index in range(200)])
    assert float(drawn.mean()) == pytest.approx(0, abs=1e-3)
    assert float(drawn.std()) == pytest.approx(0.05, rel=0.02)
    usual = torch.stack([SmoothGrad().point(images, ids, index) - images for index in range(200)])
    assert float(usual.std()) == pytest.approx(0.1, rel=0.02)
    still = SmoothGrad(samples=2, noise=0.0).maps(classifier, images, CLASSES, ids=ids)
    assert torch.allclose(still, uf.interpreters.Grad().maps(classifier, images, CLASSES), atol=1e-5)
    again = interpreter.reseeded().maps(classifier, images, CLASSES, ids=ids)
    assert not torch.allclose(again, found, atol=1e-3)


class Nonlinear(torch.nn.Module):
    """A head that squares before it pools, so that gradients differ from place to place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.conv(images))
        self.seen = features
        logits: Tensor = self.head(F.adaptive_avg_pool2d(features, 1).flatten(1).square()) * 5
        return logits


@pytest.mark.parametrize("name", ["gradcam++", "layercam"])
def test_gradient_weighted_maps_place_by_place(name: str, images: Tensor) -> None:
    network = Nonlinear().eval()
    classifier = uf.Classifier(network, image_size=16)
    found = uf.interpreters.create(name).maps(classifier, images, CLASSES)
    x = images.clone()
    logits = network(x)
    for index, c in enumerate(CLASSES.tolist()):
        features = network.seen
        (g,) = torch.autograd.grad(logits[index, c], features, retain_graph=True)
        a, g = features[index].detach(), g[index]
        total = torch.zeros(a.shape[1:])
        for k in range(a.shape[0]):
            if name == "layercam":
                total += g[k].clamp_min(0) * a[k]
                continue
            weight = 0.0
            for i in range(a.shape[1]):
                for j in range(a.shape[2]):
                    below = 2 * g[k, i, j] ** 2 + a[k].sum() * g[k, i, j] ** 3
                    alpha = g[k, i, j] ** 2 / below if float(below) != 0 else torch.tensor(0.0)
                    weight += float(alpha * g[k, i, j].clamp_min(0))
            total += weight * a[k]
        expected = min_max(total.clamp_min(0)[None])[0]
        assert torch.allclose(found[index], expected.nan_to_num(), atol=1e-4)


def test_layercam_is_gradcam_if_gradients_are_constant_in_space(classifier: uf.Classifier, images: Tensor) -> None:
    """The head is linear on the mean, with positive weights only."""
    with torch.no_grad():
        classifier.module.head.weight.abs_()
    assert torch.allclose(
        LayerCAM().maps(classifier, images, CLASSES), GradCAM().maps(classifier, images, CLASSES), atol=1e-5
    )


@pytest.mark.parametrize(
    "interpreter",
    [SmoothGrad(samples=3), IntegratedGradients(samples=3), GradCAMPlusPlus(), LayerCAM(), LRP(), LRP("z+")],
    ids=lambda i: f"{i.name}-{i.rule}" if isinstance(i, LRP) else i.name,
)
def test_joint_attacks_keep_their_maps(classifier: uf.Classifier, interpreter: Interpreter) -> None:
    images = smooth_images(11, seed=4)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, interpreter)
    joint = attacks.preset("adv2", eps=0.1, steps=(10, 50), early_stop=False)
    found, alone = (each(system, images, labels, control=False) for each in (joint, joint.control()))
    both = found.success & alone.success
    assert int(both.sum()) >= 5
    name = interpreter.name
    # Sixty steps are few: integrated gradients come to 0.79 of the control in them, the others to 0.3 to 0.7.
    assert float(found.map_l1[name][both].mean()) < 0.85 * float(alone.map_l1[name][both].mean())
    again = joint(system, images[3:4], labels[3:4], control=False)
    assert torch.equal(again.adversarial[0], found.adversarial[3])


def test_the_view_of_an_average_by_finite_differences() -> None:
    """With softplus slopes, the view's gradient is the true derivative of its map."""
    from tests.conftest import tiny_network
    from underfire.interpreters import Smoothing

    classifier = uf.Classifier(tiny_network().double(), image_size=16)
    images, ids = smooth_images(8).double(), torch.arange(8)
    classes = torch.arange(8) % 4
    ramp = torch.linspace(0, 1, 256, dtype=torch.float64).view(1, 16, 16)
    for interpreter in (
        SmoothGrad(samples=2, smoothing=Smoothing("softplus", 0.1)),
        IntegratedGradients(samples=2, smoothing=Smoothing("softplus", 0.1)),
    ):
        view = uf.System(classifier, interpreter).view("float64")
        states = view.begin(images, classes, ids)

        def value(x: Tensor, view: uf.system.SystemView = view, states: Any = states) -> Tensor:
            reading, _ = view.read(x, lambda _: classes, states, graph=True)
            (maps,) = reading.maps.values()
            return (maps * ramp).sum()

        x = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(x), x)
        direction = torch.randn_like(images)
        h = 1e-6
        ends = [float(value((images + s * h * direction).requires_grad_())) for s in (1, -1)]
        slope = float((gradient * direction).sum())
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=0.02, abs=1e-3)
