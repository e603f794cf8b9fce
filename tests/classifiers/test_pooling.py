"""The last features are found however they are pooled, or refused; never those inside a block."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from underfire.errors import ClassifierError, InterpreterError

Pool = Callable[[Tensor], Tensor]

POOLINGS: dict[str, Pool] = {
    "mean": lambda x: x.mean((2, 3)),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, 1).flatten(1),
    "max with places": lambda x: F.adaptive_max_pool2d(x, 1, return_indices=True)[0].flatten(1),
    "amax": lambda x: x.amax((-2, -1)),
    "max of max": lambda x: x.max(3)[0].max(2)[0],
    "sum": lambda x: x.sum((2, 3)),
    "Lp": lambda x: F.lp_pool2d(x, 3.0, 4).flatten(1),
    "two means": lambda x: x.mean(3).mean(2),
    "two means that keep the axes": lambda x: x.mean(3, keepdim=True).mean(2, keepdim=True).flatten(1),
    "mean of a list": lambda x: x.flatten(2).mean(-1),
    "maximum of a list": lambda x: x.view(*x.shape[:2], -1).amax(2),
    "logsumexp": lambda x: x.logsumexp((2, 3)),
    "einsum": lambda x: torch.einsum("nchw->nc", x),
    "attention": lambda x: torch.bmm(x.flatten(2), x.mean(1).flatten(1).softmax(1)[:, :, None])[:, :, 0],
    "mean and maximum": lambda x: x.mean((2, 3)) + x.amax((2, 3)),
    "flatten": lambda x: x.flatten(1),
    "2 x 2": lambda x: F.adaptive_avg_pool2d(x, 2).flatten(1),
}


class Gated(nn.Module):
    """Two blocks of squeeze and excitation, then any pooling of 8 x 4 x 4 features."""

    def __init__(self, pool: Pool, in_place: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pool, self.in_place = pool, in_place
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.gates = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.head = nn.Linear(pool(torch.rand(1, 8, 4, 4)).shape[1], 5)

    def squeezed(self, x: Tensor, index: int) -> Tensor:
        gate = self.gates[index](x.mean((2, 3))).sigmoid()[:, :, None, None]
        return x.mul_(gate) if self.in_place else x * gate

    def maps(self, images: Tensor) -> Tensor:
        x = self.squeezed(F.softplus(self.first(images)), 0)
        return self.squeezed(F.softplus(self.second(x)), 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.maps(images)))
        return logits


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_the_features_are_what_the_head_pools(name: str, in_place: bool) -> None:
    """Regression: features were those inside the last block if the pooling at the end was of another kind."""
    network = Gated(POOLINGS[name], in_place).eval()
    images = torch.rand(3, 3, 16, 16)
    recorded = uf.Classifier(network).record(images.requires_grad_())
    assert recorded.features is not None
    assert torch.equal(recorded.features, network.maps(images))
    gradient = recorded.gradient(recorded.logits[:, 1].sum(), False)
    maps = network.maps(images).detach().requires_grad_()
    (expected,) = torch.autograd.grad(network.head(network.pool(maps))[:, 1].sum(), maps)
    assert gradient is not None
    assert torch.allclose(gradient, expected, atol=1e-6)


def unknown(x: Tensor) -> Tensor:
    """A pooling that is not recognised, as long as it works on a copy with its axes in another order."""
    return (x.permute(2, 3, 0, 1) * 1).mean((0, 1))


@pytest.mark.parametrize("in_place", [False, True])
def test_features_inside_a_block_are_refused(in_place: bool) -> None:
    network = Gated(unknown, in_place).eval()
    classifier, classes = uf.Classifier(network), torch.tensor([1, 2])
    images = torch.rand(2, 3, 16, 16)
    for interpreter in (uf.interpreters.GradCAM(), uf.interpreters.CAM()):
        with pytest.raises(InterpreterError, match=r"Name the module that outputs them: .*features='layer4'"):
            interpreter.maps(classifier, images, classes)
    assert uf.interpreters.GradCAM().maps(uf.Classifier(network, features="second"), images, classes).shape == (2, 4, 4)


def test_maps_that_are_kept_for_later_do_not_hide_the_features() -> None:
    class Keeping(Gated):
        def forward(self, images: Tensor) -> Tensor:
            maps = self.maps(images)
            pooled = self.pool(maps)
            self.kept = maps.detach().clone()
            logits: Tensor = self.head(pooled)
            self.enlarged = F.interpolate(maps, scale_factor=2)
            return logits

    network = Keeping(POOLINGS["mean"]).eval()
    recorded = uf.Classifier(network).record(torch.rand(2, 3, 16, 16))
    assert recorded.features is not None
    assert torch.equal(recorded.features, network.kept)


class Early(nn.Module):
    """Pools early, and flattens its last features, which may get the memory of the pooled ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 32, 3, padding=1), nn.AdaptiveAvgPool2d(8)
        self.convolution, self.head = nn.Conv2d(32, 32, 3, padding=1), nn.Linear(32 * 64, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.stem(images)))
        x = torch.relu(self.convolution(x))
        logits: Tensor = self.head(x.flatten(1))
        return logits


@pytest.mark.parametrize("size", [32, 64])
def test_features_do_not_depend_on_which_memory_is_used_again(size: int) -> None:
    """Regression: without a graph, the flattened features could have the address of the pooled ones, and be missed."""
    classifier, images = uf.Classifier(Early().eval()), torch.rand(8, 3, size, size)
    for _ in range(3):
        with torch.no_grad():
            features = classifier.record(images).features
        assert features is not None
        assert features.shape == (8, 32, 8, 8)


class Unusual(nn.Module):
    """Returns its features as a dict, a list or a tuple, and has a part that never runs."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.encoder, self.unused, self.head = Encoder(kind), nn.Conv2d(3, 8, 1), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        found = self.encoder(images)
        maps = found["last"] if isinstance(found, dict) else found[0]
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


class Encoder(nn.Module):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind, self.convolution = kind, nn.Conv2d(3, 8, 3, stride=2)

    def forward(self, images: Tensor) -> object:
        maps = self.convolution(images).relu()
        return {"last": maps} if self.kind is dict else self.kind([maps, 1])


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (dict, "encoder", "returns an object of type dict; expected a tensor, or a tuple or list that begins with one"),
        (tuple, "unused", "features is 'unused', and that module does not run in the network's forward pass"),
    ],
)
def test_a_named_module_without_features_is_refused(kind: type, name: str, words: str) -> None:
    """Regression: errors of Python came through."""
    classifier = uf.Classifier(Unusual(kind).eval(), features=name)
    images, classes = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    for interpreter in (uf.interpreters.GradCAM(), uf.interpreters.CAM()):
        with pytest.raises(ClassifierError, match=words):
            interpreter.maps(classifier, images, classes)


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_named_module_may_return_several(kind: type) -> None:
    network, images, classes = Unusual(kind).eval(), torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    named = uf.interpreters.CAM().maps(uf.Classifier(network, features="encoder"), images, classes)
    assert torch.equal(named, uf.interpreters.CAM().maps(uf.Classifier(network), images, classes))


def test_a_head_with_one_vector_of_weights() -> None:
    """Regression: an error of torch came through."""

    class Vector(Encoder):
        def forward(self, images: Tensor) -> Tensor:
            return F.linear(self.convolution(images).relu().mean((2, 3)), self.weight)

        def __init__(self) -> None:
            super().__init__(tuple)
            torch.manual_seed(0)
            self.weight = nn.Parameter(torch.randn(8))

    classifier, images = uf.Classifier(Vector().eval()), torch.rand(3, 3, 16, 16)
    classes = torch.tensor([1, 0, 1])
    assert classifier.record(images).cam_error() < 1e-6
    for name in ("cam", "gradcam", "lrp", "attnlrp"):
        assert torch.isfinite(uf.interpreters.create(name).maps(classifier, images, classes)).all()


def test_float64_images_after_a_pass_in_inference_mode(classifier: uf.Classifier, images: Tensor) -> None:
    """Regression: the constants of the normalisation were those of inference mode, and had no gradient."""
    with torch.inference_mode():
        labels = classifier.logits(images.double()).argmax(1)
    assert uf.interpreters.Grad().maps(classifier, images.double(), labels.clone()).shape == (6, 16, 16)


def weighted(x: Tensor) -> Tensor:
    weights = x.mean(1, keepdim=True).exp()
    return (x * weights).sum((2, 3)) / weights.sum((2, 3))


def masked(x: Tensor) -> Tensor:
    mask = (x.mean(1, keepdim=True) > 0).float()
    return (x * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1)


@pytest.mark.parametrize("pool", [weighted, masked])
def test_weights_of_places_are_no_features(pool: Pool) -> None:
    """Regression: the sum of the weights came last, and Grad-CAM drew a map of the weights."""
    network = Gated(pool).eval()
    recorded = uf.Classifier(network).record(torch.rand(3, 3, 16, 16))
    assert recorded.features is not None
    assert recorded.features.shape == (3, 8, 4, 4)


HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "four axes": lambda v: v.view(-1, 2, 2, 2).flatten(1),
    "a list": lambda v: v.view(-1, 2, 4)[:, None].flatten(1),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_pooled_vector_in_another_shape_is_no_map(name: str) -> None:
    network = Gated(lambda x: HEADS[name](x.mean((2, 3)))).eval()
    images = torch.rand(3, 3, 16, 16)
    recorded = uf.Classifier(network).record(images)
    assert recorded.features is not None
    assert torch.equal(recorded.features, network.maps(images))


ASIDE: dict[str, Callable[[Tensor], Tensor]] = {
    "enlarged": lambda x: F.interpolate(x, scale_factor=2),
    "energy": lambda x: x.pow(2).mean(),
    "decoder": lambda x: F.conv_transpose2d(x, torch.ones(8, 2, 3, 3)),
    "types": lambda x: x.half().float(),
}


@pytest.mark.parametrize("name", ASIDE)
def test_maps_that_the_head_does_not_read_do_not_hide_the_features(name: str) -> None:
    """Regression: any maps between the pooling and the head hid the features."""

    class Aside(Gated):
        def forward(self, images: Tensor) -> Tensor:
            maps = self.maps(images)
            pooled = maps.mean((2, 3))
            self.aside = ASIDE[name](maps)
            logits: Tensor = self.head(F.dropout(pooled.relu(), training=False))
            return logits

    network = Aside(POOLINGS["mean"]).eval()
    images = torch.rand(3, 3, 16, 16)
    recorded = uf.Classifier(network).record(images)
    assert recorded.features is not None
    assert torch.equal(recorded.features, network.maps(images))


def test_channels_that_are_lists_of_their_own_are_pooled() -> None:
    network = Gated(lambda x: x.reshape(-1, 16).mean(1).view(-1, 8)).eval()
    recorded = uf.Classifier(network).record(torch.rand(3, 3, 16, 16))
    assert recorded.features is not None
    assert recorded.features.shape == (3, 8, 4, 4)
