"""Networks that cannot be used, or fail on images: the error says why, in Python as in ``underfire check``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Tiny, tiny_network
from underfire.errors import ClassifierError


class Calls(nn.Module):
    """A Tiny network that ``how`` calls."""

    def __init__(self, how: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.network, self.how = tiny_network(), how

    def forward(self, images: Tensor) -> Any:
        return self.how(self.network, images)


def small_batches(network: nn.Module, images: Tensor) -> Any:
    if len(images) > 2:
        raise RuntimeError("workspace too small")
    return network(images)


def broken(network: nn.Module, images: Tensor) -> Any:
    raise KeyError("head")


FAIL: dict[str, tuple[Callable[[nn.Module, Tensor], Any], str]] = {
    "NHWC": (
        lambda network, images: network(images.permute(0, 3, 1, 2)),
        r"fails on images of 3 x 16 x 16 .*, and takes images of height x width x channels \(RuntimeError: .*permute",
    ),
    "batch size": (
        small_batches,
        r"fails on .* if there are 8 at once, and takes a single one \(RuntimeError: workspace",
    ),
    "half precision": (
        lambda network, images: network(images.half()).float(),
        r"fails on .*: network\.\w+ gets float16, and its weights are float32 here \(RuntimeError: .*float32 weights",
    ),
    "own code": (broken, r"Calls fails on images of 3 x 16 x 16 \(channels x height x width\): KeyError: 'head'"),
}


@pytest.mark.parametrize("case", FAIL)
def test_a_network_that_fails(images: Tensor, case: str) -> None:
    how, said = FAIL[case]
    classifier = uf.Classifier(Calls(how), image_size=16)
    with pytest.raises(ClassifierError, match=said):
        uf.attacks.preset("adv2", eps=8 / 255, steps=(1, 2))(
            uf.System(classifier, uf.interpreters.CAM()), images, torch.zeros(6, dtype=torch.int64)
        )


def test_another_number_of_channels(images: Tensor) -> None:
    with pytest.raises(ClassifierError, match="its first convolution takes 5 channels, and the images have 3"):
        uf.Classifier(tiny_network(channels=5), channels=3).logits(images)


def test_images_that_are_too_small() -> None:
    """Regression: torch's words about a kernel said nothing of the size that the network needs."""
    layers = [layer for _ in range(5) for layer in (nn.Conv2d(3, 3, 3), nn.MaxPool2d(2))]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ClassifierError, match=r"of 3 x 16 x 16 .*, and takes images of 96 x 96 .* image_size=96"):
        uf.Classifier(network).logits(torch.rand(2, 3, 16, 16))


def test_networks_of_more_channels_work() -> None:
    classifier, images = uf.Classifier(tiny_network(channels=5)), torch.rand(4, 5, 16, 16)
    assert classifier.channels == 5
    system = uf.System(classifier, uf.interpreters.CAM())
    labels = classifier.logits(images).argmax(1)
    assert uf.attacks.preset("adv2", eps=8 / 255, steps=(1, 2))(system, images, labels).adversarial.shape[1] == 5


def test_memory_errors_stay_what_they_are(images: Tensor) -> None:
    def full(network: nn.Module, images: Tensor) -> Any:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        uf.Classifier(Calls(full)).run(images)


def test_weights_that_cannot_be_used() -> None:
    with torch.device("meta"):
        without_values = Tiny()
    with pytest.raises(ClassifierError, match=r"weight first.weight has no values: it is on the device 'meta'"):
        uf.Classifier(without_values)
    with pytest.raises(ClassifierError, match=r"weight 0.weight has no shape yet, because its module is lazy"):
        uf.Classifier(nn.Sequential(nn.LazyConv2d(4, 3)))
    sparse = tiny_network()
    sparse.head.weight = nn.Parameter(sparse.head.weight.detach().to_sparse())
    with pytest.raises(ClassifierError, match=r"weight head.weight is sparse .*to_dense"):
        uf.Classifier(sparse)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_layers_that_compute_with_integers() -> None:
    if not [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]:
        pytest.skip("this build of torch has no integer kernels")
    network = torch.ao.quantization.quantize_dynamic(tiny_network(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ClassifierError, match=r"module head .* computes with integers, which have no gradient"):
        uf.Classifier(network)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()

    def forward(self, images: Tensor, age: Tensor, *, site: Tensor, weight: float = 1.0) -> Any:
        return self.network(images) + age + site + weight


def test_a_network_that_needs_more_than_images_names_the_rest(images: Tensor) -> None:
    """Regression: the message asked for image_size and channels."""
    with pytest.raises(ClassifierError, match=r"its forward needs age and site beside the images \(TypeError"):
        uf.Classifier(TwoInputs(), image_size=16).logits(images)
