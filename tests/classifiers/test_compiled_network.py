"""Compiled networks, and networks with compiled parts, have the maps of the eager ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images

CLASSES = torch.tensor([0, 1, 2, 3])
RUNS: list[int] = []
"""One entry for each pass of compiled code."""


@pytest.fixture(autouse=True)
def no_runs() -> None:
    torch.compiler.reset()
    RUNS.clear()


def backend(graph: Any, _given: object) -> Callable[..., Any]:
    def run(*values: Any) -> Any:
        RUNS.append(1)
        return graph(*values)

    return run


class Body(nn.Sequential):
    """A part with a ``forward`` of its own: torch compiles none of its own kinds of sequences."""

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self[1](self[0](images))
        return features


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = Body(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


def compiled(how: str) -> nn.Module:
    network: Any = Whole().eval()
    if how == "network":
        network.compile(backend=backend)
    elif how == "method":
        network.body.compile(backend=backend)
    else:
        network.body = torch.compile(network.body, backend=backend)
    made: nn.Module = network
    return made


@pytest.mark.parametrize("interpreter", ["grad", "cam", "gradcam", "lrp", "attnlrp"])
@pytest.mark.parametrize("how", ["network", "method", "part"])
@pytest.mark.filterwarnings("ignore:.*module is compiled")
def test_maps_are_those_of_the_eager_network(how: str, interpreter: str) -> None:
    images, network = smooth_images(4), compiled(how)
    classifier = uf.Classifier(network)
    found = uf.interpreters.create(interpreter).maps(classifier, images, CLASSES)
    assert not RUNS
    assert torch.equal(found, uf.interpreters.create(interpreter).maps(uf.Classifier(Whole().eval()), images, CLASSES))
    assert torch.equal(classifier.logits(images), uf.Classifier(Whole().eval()).logits(images))
    assert not RUNS
    network(images)  # the user's own passes are compiled as before
    assert RUNS


@pytest.mark.parametrize("features", ["body", "body._orig_mod", "body._orig_mod.1"])
def test_features_inside_a_compiled_part_can_be_named(features: str) -> None:
    images, network = smooth_images(4), compiled("part")
    classifier, eager = uf.Classifier(network, features=features), uf.Classifier(Whole().eval(), features="body")
    labels = classifier.logits(images).argmax(1)
    cam = uf.interpreters.GradCAM()
    assert torch.equal(cam.maps(classifier, images, CLASSES), cam.maps(eager, images, CLASSES))
    result = uf.attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, cam), images, labels)
    assert result.adversarial.shape == images.shape


def test_the_view_of_named_features_in_a_compiled_network_reads_what_the_verdict_reads() -> None:
    """Regression: the name did not fit the copy for attacks, whose batch norm was folded into the named features."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    body[1].running_var.fill_(0.01)
    body[1].running_mean.normal_(0.0, 0.3)
    network = nn.Sequential(
        torch.compile(body, backend="eager"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    images, cam = smooth_images(4), uf.interpreters.GradCAM()
    classifier = uf.Classifier(network.eval(), features="0._orig_mod.0", image_size=16)
    view = uf.System(classifier, cam).view()
    states = view.begin(images, CLASSES, torch.arange(4))
    reading, _ = view.read(images.clone().requires_grad_(), lambda _: CLASSES, states, graph=True)
    assert torch.allclose(reading.maps["gradcam"].detach(), cam.maps(classifier, images, CLASSES), atol=1e-4)
    pytest.importorskip("captum")
    assert uf.interpreters.create("captum:LayerGradCam").maps(classifier, images, CLASSES).shape[0] == 4


def test_functions_that_are_compiled_by_themselves_run_eagerly() -> None:
    """Regression: compiled code hid the layers inside from the rules of LRP, and its maps were wrong."""

    class Calling(Whole):
        def __init__(self, compile: bool) -> None:
            super().__init__()
            convolved: Any = lambda images: self.body(images).square()  # noqa: E731  # torch.compile takes it
            self.called = torch.compile(convolved, backend=backend) if compile else convolved

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.called(images))
            return logits

    images, networks = smooth_images(4), [Calling(compile).eval() for compile in (False, True)]
    networks[1](images)
    assert RUNS, "the function is compiled"
    RUNS.clear()
    for name in ("cam", "lrp", "attnlrp", "grad"):
        interpreter = uf.interpreters.create(name)
        one, other = (interpreter.maps(uf.Classifier(network), images, CLASSES) for network in networks)
        assert torch.equal(one, other)
    uf.Classifier(networks[1]).live().run(images)
    assert not RUNS


def test_a_user_may_compile_code_around_a_classifier() -> None:
    """Regression: the compiler does not trace a change of its own stance."""
    classifier, images = uf.Classifier(Whole().eval()), smooth_images(4)
    for call in (classifier, classifier.logits):
        compiled: Any = torch.compile(call, backend="eager")
        assert torch.allclose(compiled(images), classifier.logits(images), atol=1e-6)
