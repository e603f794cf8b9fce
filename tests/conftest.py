"""What tests share: tiny networks with known answers, images, and where the shared data lies."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

import underfire as uf
from underfire import allocation

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collecting tests makes millions of objects that stay; to search these for garbage takes 5 s of 20."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Files are not forced onto the disk, which is half the time of a small run and matters if the power fails alone.

    Processes that tests start force them as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_allocator_settings() -> Iterator[None]:
    """The command line, where a test calls it in this process, does not set the process's allocator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allocation, "keep_freed_memory", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _default_device() -> None:
    """``UNDERFIRE_TEST_DEVICE=cuda`` makes torch's default device, and so the networks and images of tests, a GPU."""
    if device := os.environ.get("UNDERFIRE_TEST_DEVICE"):
        torch.set_default_device(device)


@pytest.fixture(scope="session")
def cifar10() -> uf.data.ImageData:
    path = SHARED / "cifar10" / "test.parquet"
    if not path.exists():
        pytest.skip("the shared CIFAR-10 test set is not there")
    return uf.data.open_data(path)


class Tiny(nn.Module):
    """Two convolutions with batch norm, ReLUs written in three ways, a pooled linear head."""

    def __init__(self, classes: int = 4, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.norm(self.first(images)))
        features = self.act(self.second(features))
        return self.head(features.mean((2, 3)))


def tiny_network(seed: int = 0, classes: int = 4, channels: int = 3) -> Tiny:
    """A Tiny with batch norm statistics that are not trivial, and logits that differ enough to matter."""
    torch.manual_seed(seed)
    network = Tiny(classes, channels)
    for _ in range(20):
        network(torch.rand(16, channels, 16, 16))
    network.eval()
    with torch.no_grad():
        network.head.weight.mul_(6)
        network.head.bias.sub_(network(smooth_images(64, channels=channels)).mean(0))  # no class wins everywhere
    return network


@pytest.fixture
def tiny() -> Tiny:
    return tiny_network()


@pytest.fixture
def classifier(tiny: Tiny) -> uf.Classifier:
    return uf.Classifier(tiny, mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25), image_size=16, name="tiny")


class Squaring(torch.autograd.Function):
    """The square, as a kernel of somebody's own: its gradient cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values * values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * outer


class Squared(nn.Module):
    """Squares its input, without a second derivative."""

    def forward(self, values: Tensor) -> Tensor:
        squares: Tensor = Squaring.apply(values)
        return squares


def smooth_images(count: int, size: int = 16, channels: int = 3, seed: int = 0) -> Tensor:
    """Images on the 8-bit grid with structure at two scales."""
    generator = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(torch.rand(count, channels, 4, 4, generator=generator), size=(size, size), mode="bicubic")
    fine = torch.rand(count, channels, size, size, generator=generator)
    return (coarse.mul(0.8) + fine.mul(0.2)).clamp(0, 1).mul(255).round().div(255)


@pytest.fixture
def images() -> Tensor:
    return smooth_images(6)


@pytest.fixture
def labels(classifier: uf.Classifier, images: Tensor) -> Tensor:
    return classifier.logits(images).argmax(1)


def by(perturbation: str, eps: float) -> dict[str, Any]:
    """A preset's perturbation, with a radius where it has one."""
    return {"perturbation": perturbation, "eps": eps if uf.attacks.PERTURBATIONS[perturbation].has("eps") else None}
