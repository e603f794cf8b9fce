"""An image's logits and gradients have the same bits in a batch of 8, 16 and 64, with wide heads too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.classifiers.eights import in_eights

pytestmark = pytest.mark.skipif(
    not hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"), reason="this torch does not tell of hooks"
)


class Wide(nn.Module):
    """A small network whose head takes 512 features, as a ResNet-18's does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 512, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(512, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


@pytest.mark.parametrize("count", [16, 24, 64])
def test_logits_have_the_bits_of_a_batch_of_eight(count: int) -> None:
    """Regression: a product of 8 rows with a matrix of 256 columns or more sums in another order than one of 16."""
    classifier, images = uf.Classifier(Wide()), smooth_images(8).repeat(8, 1, 1, 1)
    prepared = classifier.prepare("float32", in_place=False, size=(16, 16))
    for network in (classifier, prepared):
        few, many = (part.clone().requires_grad_() for part in (images[:8], images[:count]))
        small, large = network.run(few), network.run(many)
        assert torch.equal(large[:8], small)
        (one,) = torch.autograd.grad(small.square().sum(), few)
        (other,) = torch.autograd.grad(large.square().sum(), many)
        assert torch.equal(other[:8], one)


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": F.linear,
    "mm": lambda rows, weight: torch.mm(rows, weight.T),
    "matmul": lambda rows, weight: torch.matmul(rows, weight.T),
    "@": lambda rows, weight: rows @ weight.T,
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("count", [9, 20, 64])
def test_products_are_those_of_eight_rows(name: str, count: int) -> None:
    rows, weight = torch.randn(count, 512), torch.randn(4, 512)
    with in_eights(torch.empty(count, 1), convolutions=False):
        found = PRODUCTS[name](rows, weight)
    whole = PRODUCTS[name](rows.double(), weight.double())
    assert torch.allclose(found.double(), whole, atol=1e-4)
    assert torch.equal(found[:8], PRODUCTS[name](rows[:8], weight))


def test_other_products_stay_as_they_are() -> None:
    one, several, vector = torch.randn(16, 5), torch.randn(3, 5, 2), torch.randn(5)
    with in_eights(torch.empty(16, 1), convolutions=True):
        assert torch.equal(torch.matmul(one, several), torch.matmul(one.clone(), several.clone()))
        assert torch.matmul(one, several).shape == (3, 16, 2)
        assert (one @ vector).shape == (16,)
        assert F.linear(torch.randn(16, 3, 5), one).shape == (16, 3, 16)
        assert torch.cat([one, one]).shape == (32, 5)


@pytest.mark.parametrize("interpreter", ["cam", "gradcam", "grad", "lrp", "rts"])
def test_honest_readings_have_the_bits_of_a_batch_of_eight(interpreter: str) -> None:
    """Regression: convolutions of single pixels moved the DenseNet's maps by 4e-7. LRP looks at layers' outputs."""
    classifier = uf.classifiers.load("cifar10-densenet")
    images = smooth_images(24, size=32)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, interpreter)
    ids = [str(place) for place in range(24)]
    few, many = (system.maps(images[:n], labels[:n], ids=ids[:n])[interpreter] for n in (8, 24))
    assert torch.equal(many[:8], few)
    assert torch.equal(classifier.logits(images)[:8], classifier.logits(images[:8]))


def test_rows_that_are_no_images_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of 16 images as 16 x 50 rows: a hundred small products would take long."""
    sizes: list[int] = []
    plain = torch.cat

    def counted(parts: list[Tensor]) -> Tensor:
        sizes.append(len(parts))
        return plain(parts)

    monkeypatch.setattr(torch, "cat", counted)
    with in_eights(torch.empty(16, 1), convolutions=True):
        F.linear(torch.randn(16 * 50, 32), torch.randn(4, 32))
        F.conv2d(torch.randn(16 * 50, 32, 2, 2), torch.randn(4, 32, 1, 1))
        assert not sizes
        F.linear(torch.randn(16, 32), torch.randn(4, 32))
        F.conv2d(torch.randn(16, 32, 2, 2), torch.randn(4, 32, 1, 1))
    assert sizes == [2, 2]


class Checkpointed(Wide):
    """Runs its head again in the backward pass."""

    def forward(self, images: Tensor) -> Tensor:
        return checkpoint(super().forward, images, use_reentrant=False)


class Sparse(Wide):
    """Has a product with a sparse table."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).mean((2, 3))
        return torch.mm(pooled.detach().to_sparse(), self.head.weight.T) + self.head(pooled)


@pytest.mark.parametrize(("network", "interpreter"), [(Checkpointed, "cam"), (Checkpointed, "grad"), (Sparse, "grad")])
def test_networks_with_other_products(network: type[Wide], interpreter: str) -> None:
    """Regression: what is computed again in the backward pass must be what was computed before; sparse rows stay."""
    system, images = uf.System(uf.Classifier(network()), interpreter), smooth_images(16)
    labels = system.classifier.logits(images).argmax(1)
    result = attacks.preset("auto", eps=8 / 255, budget=2)(system, images, labels, control=False)
    assert result.success.shape == (16,)


class Named(Wide):
    """Calls products with keywords, and on rows of one more axis."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).mean((2, 3))
        return F.linear(pooled, weight=self.head.weight) + self.head(pooled[:, None])[:, 0]


class ByClass(Wide):
    """The first factor is a weight, with as many rows as a batch may have images."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(512, 16)

    def forward(self, images: Tensor) -> Tensor:
        return (self.head.weight @ self.features(images).mean((2, 3)).T).T


def test_products_written_in_other_ways() -> None:
    images = smooth_images(24)
    named = uf.Classifier(Named())
    assert torch.equal(named.run(images)[:8], named.run(images[:8]))
    columns = uf.Classifier(ByClass())
    assert torch.equal(columns.run(images[:16])[:8], columns.run(images)[:8])


def test_a_classifier_can_be_traced() -> None:
    """Regression: the pieces of 16 images were traced, and 40 refused."""
    classifier, images = uf.Classifier(Wide()), smooth_images(40)
    traced = torch.jit.trace(classifier, images[:16])
    assert torch.allclose(traced(images), classifier.run(images), atol=1e-5)
