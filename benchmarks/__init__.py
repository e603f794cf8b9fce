"""Measurements of underfire, run as modules: ``python -m benchmarks.speed``, ``python -m benchmarks.memory``.

Here is what several of them share: the networks that are measured, each with a batch of images to attack.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from underfire.attacks import Attack, GivenClass, preset
from underfire.attacks.benign import Benign, read_benign
from underfire.attacks.outcome import Outcome
from underfire.attacks.progress import Progress
from underfire.data import open_data
from underfire.errors import UnderfireError
from underfire.interpreters import Grad, SmoothRectifiers
from underfire.interpreters.maps import log_odds
from underfire.system import SystemView
from underfire.zoo import recipes

EPS = 8 / 255


@dataclass(frozen=True)
class Subject:
    """A classifier and a batch to attack: ``images`` N x 3 x H x W in [0, 1], the classes that the classifier
    gives them as ``labels``, and other classes as ``targets`` (both int64 N)."""

    name: str
    about: str
    classifier: uf.Classifier
    images: Tensor
    labels: Tensor
    targets: Tensor

    def system(self, interpreter: str = "cam") -> uf.System:
        return uf.System(self.classifier, uf.interpreters.create(interpreter))

    def start(self, interpreter: str = "cam") -> tuple[SystemView, Benign]:
        """What :meth:`Attack.run` works on: a prepared view, and the images with their benign readings."""
        system = self.system(interpreter)
        return system.view(), read_benign(system, self.images, self.labels)

    def attack(
        self, name: str, steps: tuple[int, int], interpreter: str = "cam", perturbation: str | None = None
    ) -> Attack:
        """A preset (``bim`` is PGD without a random start) on these targets; no image leaves early."""
        target = GivenClass(tuple(self.targets.tolist()))
        made = preset(name, steps=steps, target_class=target, perturbation=perturbation)
        if made.made_perturbation.has("eps"):
            made = made.replace(eps=EPS)
        built = made.build(self.system(interpreter))
        return replace(built, early_stop=None)

    def success(self, images: Tensor) -> float:
        """The share of ``images``, rounded to 8 bits, that the original classifier takes for their targets."""
        logits = self.classifier.logits(images.detach().mul(255).round() / 255)
        return float((logits.argmax(1) == self.targets).float().mean())


def run_on(attack: Attack, view: SystemView, benign: Benign, progress: Progress | None = None) -> Outcome:
    """Run an attack on all images at once, without judging them."""
    aim = attack.aim(view, benign, 0)
    return attack.run(view, benign, aim, seed=0, batch_size=len(benign.images), progress=progress)


def bare_gradient(subject: Subject, view: SystemView) -> Tensor:
    """Forward pass and the gradient of the cross-entropy in the images."""
    images = subject.images.clone().requires_grad_()
    loss = F.cross_entropy(view.prepared.run(images), subject.targets, reduction="sum")
    return torch.autograd.grad(loss, images)[0]


def bare_double(subject: Subject, view: SystemView) -> Tensor:
    """Forward with smoothed rectifiers, the gradient with its graph, and the gradient of a loss of both."""
    images = subject.images.clone().requires_grad_()
    with SmoothRectifiers(Grad().smoothing):
        logits = view.prepared.run(images)
    (gradient,) = torch.autograd.grad(log_odds(logits, subject.targets).sum(), images, create_graph=True)
    loss = F.cross_entropy(logits, subject.targets, reduction="sum") + gradient.square().sum()
    return torch.autograd.grad(loss, images)[0]


class Normalised(nn.Module):
    """The original network on pixels in [0, 1], as other libraries are given it."""

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: uf.Classifier, frozen: bool) -> None:
        super().__init__()
        self.network = copy.deepcopy(classifier.module).eval().requires_grad_(not frozen)
        self.register_buffer("mean", torch.tensor(classifier.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(classifier.std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def load_subject(
    name: str,
    batch: int | None = None,
    data: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    side: int | None = None,
) -> Subject:
    """The network called ``name``, ``cifar`` or ``resnet50``.

    Args:
        batch: images at once; by default 128 of 32 x 32 and 8 of 224 x 224 pixels.
        data: where images come from, as for ``underfire attack``; smooth random ones if None.
        device: where classifier and images are put.
        side: height and width of the images; those that the classifier is for if None.
    """
    classifier, about = _cifar() if name == "cifar" else _resnet50()
    classifier.to(device)
    size = classifier.image_size if side is None else (side, side)
    assert size is not None
    count = batch or (128 if name == "cifar" else 8)
    images = _random_images(count, size) if data is None else open_data(data).load(size, 3, range(count)).images
    images = images.to(device)
    logits = classifier.logits(images)
    labels = logits.argmax(1)
    shift = torch.randint(1, logits.shape[1], (count,), generator=torch.Generator().manual_seed(1)).to(device)
    targets = (labels + shift) % logits.shape[1]
    about = f"{about}, {count} images of {size[0]} x {size[1]}{'' if data else ' (random)'}"
    return Subject(name, about, classifier, images, labels, targets)


def _cifar() -> tuple[uf.Classifier, str]:
    try:
        return uf.classifiers.load("cifar10-resnet20"), "cifar10-resnet20"
    except UnderfireError:
        recipe = recipes.find("cifar10-resnet20")
        torch.manual_seed(0)
        network = recipe.network().eval()
        classifier = uf.Classifier(network, mean=recipe.mean, std=recipe.std, image_size=recipe.image_size)
        return classifier, "cifar10-resnet20 with random weights"


def _resnet50() -> tuple[uf.Classifier, str]:
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.split("(")[0]):  # a torchvision whose extension does not load
            _SCHEMAS.append(torch.library.Library("torchvision", "FRAGMENT"))
            _SCHEMAS[-1].define(schema)
    from torchvision.models import resnet50

    torch.manual_seed(0)
    network: nn.Module = resnet50(weights=None).eval()
    classifier = uf.Classifier(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), image_size=224)
    return classifier, "torchvision's ResNet-50 with random weights"


_SCHEMAS: list[torch.library.Library] = []


def _random_images(count: int, size: tuple[int, int]) -> Tensor:
    """Smooth random images with a little noise, on the 8-bit grid."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    noise = torch.rand(count, 3, *size, generator=generator) - 0.5
    return (smooth + noise / 8).clamp(0, 1).mul(255).round() / 255
