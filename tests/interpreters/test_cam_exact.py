"""CAM where it is exact although something stands between features, head and logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Tiny, smooth_images, tiny_network
from underfire.errors import InterpreterError


class Neck(Tiny):
    """A Tiny network with a batch norm between its pooling and its head."""

    def __init__(self, norm: nn.Module, classes: int = 4) -> None:
        super().__init__(classes)
        torch.manual_seed(0)
        self.load_state_dict(tiny_network(classes=classes).state_dict())
        self.neck = norm
        if isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.uniform_(0.2, 1)
            norm.running_var.uniform_(0.01, 2)
        if getattr(norm, "affine", False):
            nn.init.uniform_(norm.weight, -1, 2)
            nn.init.uniform_(norm.bias, -1, 2)
        self.eval()

    def features(self, images: Tensor) -> Tensor:
        features = self.norm(self.first(images)).relu()
        return self.second(features).relu()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.neck(self.features(images).mean((2, 3))))


def by_definition(network: Neck, images: Tensor, classes: Tensor) -> Tensor:
    """The logit's share of each place, slowly: the derivative of the logit in each feature, times the feature."""
    found = []
    for image, chosen in zip(images, classes.tolist(), strict=True):
        features = network.features(image[None]).detach().requires_grad_()
        logit = network.head(network.neck(features.mean((2, 3))))[0, chosen]
        (slope,) = torch.autograd.grad(logit, features)
        found.append((slope * features)[0].sum(0).detach())
    raw = torch.stack(found)
    low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
    return (raw - low) / (high - low)


@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_norm_between_pooling_and_head_is_folded(affine: bool) -> None:
    network, images = Neck(nn.BatchNorm1d(8, affine=affine)), smooth_images(4)
    classifier, classes = uf.Classifier(network), torch.arange(4)
    maps = uf.System(classifier, uf.interpreters.CAM()).maps(images, classes)["cam"]
    assert torch.allclose(maps, by_definition(network, images, classes), atol=1e-4)
    result = uf.attacks.preset("adv2", eps=16 / 255, steps=(2, 3))(
        uf.System(classifier, uf.interpreters.CAM()), images, classifier.logits(images).argmax(1)
    )
    assert bool((result.linf > 0).all())


def test_a_batch_norm_and_a_single_logit() -> None:
    network, images = Neck(nn.BatchNorm1d(8), classes=1), smooth_images(4)
    maps = uf.System(uf.Classifier(network), uf.interpreters.CAM()).maps(images, torch.ones(4, dtype=torch.int64))
    expected = by_definition(network, images, torch.zeros(4, dtype=torch.int64))
    assert torch.allclose(maps["cam"], expected, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_log_softmax_after_the_head_is_a_shift(classes: int) -> None:
    network, images, labels = tiny_network(classes=classes), smooth_images(4), torch.tensor([0, 1, 1, 0])
    plain = uf.System(uf.Classifier(network), uf.interpreters.CAM())
    shifted = uf.System(uf.Classifier(nn.Sequential(network, nn.LogSoftmax(1))), uf.interpreters.CAM())
    assert torch.equal(plain.maps(images, labels)["cam"], shifted.maps(images, labels)["cam"])


@pytest.mark.parametrize("between", [nn.ReLU(), nn.LayerNorm(8), nn.Sequential(nn.BatchNorm1d(8), nn.Tanh())])
def test_anything_else_in_between_is_refused(between: nn.Module) -> None:
    network = Neck(between)
    if isinstance(between, nn.ReLU):
        network.second.weight.data.mul_(1)
        network.neck = nn.Hardtanh(0, 0.05)
    with pytest.raises(InterpreterError, match="CAM needs logits = linear"):
        uf.System(uf.Classifier(network), uf.interpreters.CAM()).maps(smooth_images(4), torch.arange(4))


def test_a_batch_norm_that_takes_the_statistics_of_the_batch_is_not_folded() -> None:
    network = Neck(nn.BatchNorm1d(8, track_running_stats=False))
    with torch.no_grad():
        assert uf.Classifier(network).record(smooth_images(4)).norm is None
