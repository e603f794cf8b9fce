"""Layer-wise relevance propagation against the definition, written as sums over matrices, and against captum."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.errors import InputError
from underfire.interpreters import LRP, Smoothing
from underfire.interpreters.propagation import Propagation

CLASSES = torch.tensor([0, 1, 2, 3, 1, 0])
RULES = ("epsilon", "z+")


def matrix(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Find the matrix (in x out) and the bias (out) of a linear layer, by feeding it every unit vector."""
    count = int(torch.tensor(shape).prod())
    units = torch.eye(count, dtype=torch.float64).view(count, *shape)
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        return layer(units).flatten(1) - bias, bias


def share(x: Tensor, weights: Tensor, bias: Tensor, received: Tensor, rule: Any, epsilon: float) -> Tensor:
    """Propagate the relevance that each output received through one layer, by the definition; weights are in x out."""
    products = x[:, None] * weights
    if rule == "z+":
        positive = products.clamp_min(0)
        return (positive / (positive.sum(0) + 1e-6) * received).sum(1)
    z = products.sum(0) + bias
    sign = torch.where(z < 0, -1.0, 1.0)
    return (products / (z + epsilon * sign) * received).sum(1)


@pytest.mark.parametrize("rule", RULES)
def test_every_layer_by_the_definition(rule: Any) -> None:
    torch.manual_seed(1)
    first, second = nn.Conv2d(3, 4, 3, padding=1).double(), nn.Conv2d(4, 5, 3, stride=2).double()
    norm, head = nn.BatchNorm2d(4).double().eval(), nn.Linear(5, 4).double()
    norm.running_mean = torch.randn(4, dtype=torch.float64)
    norm.running_var = torch.rand(4, dtype=torch.float64) + 0.5
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.7, -1.2, 0.4, 2.0]))
        norm.bias.copy_(torch.tensor([0.3, 0.1, -0.5, 0.2]))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([first, norm, second, head])

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.relu(norm(first(x)), inplace=True), 2)
            result: Tensor = head(torch.relu(second(x)).mean((2, 3)))
            return result

    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    classifier = uf.Classifier(Network().eval(), mean=mean, std=std, image_size=8)
    images = smooth_images(6, size=8).double()
    interpreter = LRP(rule, epsilon=0.05)
    found = interpreter.relevance(classifier, images.clone().requires_grad_(), CLASSES).detach()

    normalised = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    both = nn.Sequential(first, norm)  # one layer, as the rules see it
    for index, c in enumerate(CLASSES.tolist()):
        x0 = normalised[index : index + 1]
        with torch.no_grad():
            x1 = F.relu(both(x0))
            x2, where = F.max_pool2d(x1, 2, return_indices=True)
            x3 = F.relu(second(x2))
            logits = head(x3.mean((2, 3)))[0]
        received = torch.zeros(4, dtype=torch.float64)
        received[c] = logits[c]
        pooled = share(x3.mean((2, 3))[0], *matrix(head, (5,)), received, "epsilon", 0.05)
        spread = x3[0] / x3[0].sum((1, 2), keepdim=True).clamp_min(1e-300) * pooled.view(5, 1, 1)
        relevance = share(x2.flatten(), *matrix(second, tuple(x2.shape[1:])), spread.flatten(), rule, 0.05)
        unpooled = F.max_unpool2d(relevance.view_as(x2), where, 2)
        expected = share(x0.flatten(), *matrix(both, tuple(x0.shape[1:])), unpooled.flatten(), rule, 0.05)
        assert torch.allclose(found[index].flatten(), expected, rtol=1e-5, atol=1e-7), index
    maps = interpreter.maps(classifier, images, CLASSES)
    positive = found.sum(1).clamp_min(0)
    low, high = positive.amin((1, 2), keepdim=True), positive.amax((1, 2), keepdim=True)
    assert torch.allclose(maps, ((positive - low) / (high - low).clamp_min(1e-8)).float(), atol=1e-5)


def test_epsilon_against_captum(images: Tensor) -> None:
    captum = pytest.importorskip("captum.attr")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules")
    torch.manual_seed(0)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            self.head = nn.Sequential(nn.Linear(8 * 64, 16), nn.ReLU(), nn.Linear(16, 4))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.head(self.features(x).flatten(1))
            return result

    network = Network()
    for part in (network.features[0], network.head[0], network.head[2]):
        part.rule = rules.EpsilonRule(0.01)
    theirs = captum.LRP(network).attribute(images, target=CLASSES)
    ours = LRP("epsilon", 0.01).relevance(uf.Classifier(network, image_size=16), images.requires_grad_(), CLASSES)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_a_tiny_epsilon_is_input_times_gradient(images: Tensor) -> None:
    """For a network of rectifiers (Ancona et al. 2018, proposition 1)."""
    classifier = uf.Classifier(tiny_network(), image_size=16)
    x = images.clone().requires_grad_()
    found = LRP("epsilon", 1e-9).relevance(classifier, x, CLASSES)
    (gradient,) = torch.autograd.grad(classifier.run(x).gather(1, CLASSES[:, None]).sum(), x)
    assert torch.allclose(found, x * gradient, rtol=1e-3, atol=1e-5)


def test_the_positive_rule_conserves_relevance(images: Tensor) -> None:
    """The relevance of the pixels adds up to the logit, with any biases."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten())
    network.append(nn.Linear(8 * 144, 4))
    with torch.no_grad():
        network[5].bias.zero_()
    classifier = uf.Classifier(network, image_size=16)
    found = LRP("z+", 1e-9).relevance(classifier, images.clone().requires_grad_(), CLASSES)
    chosen = classifier.logits(images).gather(1, CLASSES[:, None]).squeeze(1)
    assert torch.allclose(found.sum((1, 2, 3)), chosen, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "activation",
    [
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.SiLU(inplace=True),
        nn.Mish(),
        nn.Hardswish(),
        nn.Hardswish(inplace=True),
    ],
    ids=str,
)
def test_smooth_activations_pass_relevance_unchanged(images: Tensor, activation: nn.Module) -> None:
    """Without biases, all relevance reaches the pixels; value x derivative would lose some, or make more of it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), activation, nn.Conv2d(8, 8, 3, bias=False), activation)
    network.extend([nn.Flatten(), nn.Linear(8 * 144, 4, bias=False)])
    classifier = uf.Classifier(network.double(), image_size=16)
    x = images.double().requires_grad_()
    found = LRP("epsilon", 1e-12).relevance(classifier, x, CLASSES)
    chosen = classifier.run(x).gather(1, CLASSES[:, None]).squeeze(1)
    assert torch.allclose(found.sum((1, 2, 3)), chosen, rtol=1e-6)
    (gradient,) = torch.autograd.grad(chosen.sum(), x)
    assert not torch.allclose((x * gradient).sum((1, 2, 3)), chosen, rtol=1e-2)
    with torch.no_grad():
        value = network[0](x)  # images in [0, 1] are what the network sees
    received = torch.rand(value.shape, dtype=torch.float64)
    copied = value.clone().requires_grad_()
    with Propagation("epsilon", 1e-12) as rules:
        output = activation(copied * 1.0)
        with rules.propagating():
            (passed,) = torch.autograd.grad(output, copied, received / output)
    assert torch.allclose(passed * value, received)


def test_the_view_smooths_hard_swish(images: Tensor) -> None:
    """Regression: its gate was exact in the view, so that attacks saw no slope beyond -3 and 3."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.Conv2d(8, 8, 3), nn.Hardswish(), nn.Flatten())
    classifier = uf.Classifier(network.append(nn.Linear(8 * 144, 4)), image_size=16)
    found = []
    for smoothing in (None, Smoothing("softplus", 0.5)):
        x = images.clone().requires_grad_()
        relevance = LRP().relevance(classifier, x, CLASSES, graph=True, smoothing=smoothing)
        found.append(torch.autograd.grad(relevance.square().sum(), x)[0])
    assert not torch.allclose(found[0], found[1], rtol=1e-2)


def test_rules_do_not_change_logits(classifier: uf.Classifier, images: Tensor) -> None:
    from underfire.interpreters.propagation import Propagation

    before = classifier.logits(images)
    for rule in RULES:
        with torch.no_grad(), Propagation(rule, 0.01):
            assert torch.allclose(classifier.run(images), before, atol=1e-4)
    assert torch.equal(classifier.logits(images), before)


@pytest.mark.parametrize("rule", RULES)
def test_the_view_has_the_derivative_of_its_map(rule: Any) -> None:
    """With softplus slopes that are so narrow that the view's map is the honest map."""
    classifier = uf.Classifier(tiny_network().double(), mean=(0.5,) * 3, std=(0.25,) * 3, image_size=16)
    images, ids = smooth_images(8).double(), torch.arange(8)
    classes = torch.arange(8) % 4
    interpreter = LRP(rule, epsilon=0.1, smoothing=Smoothing("softplus", 1e-3))
    view = uf.System(classifier, interpreter).view("float64")
    states = view.begin(images, classes, ids)
    ramp = torch.linspace(0, 1, 256, dtype=torch.float64).view(1, 16, 16)

    def maps(x: Tensor) -> Tensor:
        reading, _ = view.read(x, lambda _: classes, states, graph=True)
        return reading.maps["lrp"]

    x = images.clone().requires_grad_()
    seen = maps(x)
    assert torch.allclose(seen.float(), interpreter.maps(classifier, images, classes), atol=0.02)
    (gradient,) = torch.autograd.grad((seen * ramp).sum((1, 2)).sum(), x)
    torch.manual_seed(0)
    direction = torch.randn_like(images)
    h = 1e-7
    with torch.enable_grad():
        ends = [(maps((images + s * h * direction).requires_grad_()) * ramp).sum((1, 2)).detach() for s in (1, -1)]
    slope = (gradient * direction).sum((1, 2, 3))
    assert torch.allclose((ends[0] - ends[1]) / (2 * h), slope, rtol=1e-3, atol=1e-4)


def test_names_and_errors() -> None:
    assert uf.interpreters.create("lrp:z+") == LRP("z+")
    assert uf.interpreters.canonical("LRP:z+") == "lrp:z+"
    with pytest.raises(InputError, match="rule"):
        uf.interpreters.create("lrp:alpha")
    with pytest.raises(InputError, match="epsilon is 0"):
        LRP(epsilon=0)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_of_a_map_stays_in_memory(classifier: uf.Classifier, images: Tensor, rule: Any) -> None:
    """If graph and rules held each other, the garbage collector could not free them."""
    from underfire.interpreters.propagation import Propagation

    # By the type alone: of a dead weak proxy of some library, isinstance asks what is no longer there.
    before = sum(issubclass(type(thing), Propagation) for thing in gc.get_objects())
    LRP(rule).maps(classifier, images, CLASSES)
    gc.collect()
    assert sum(issubclass(type(thing), Propagation) for thing in gc.get_objects()) <= before
