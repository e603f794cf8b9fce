"""Several networks in one: maps of the last one's features are announced as what they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from underfire.check.checking import run_check
from underfire.classifiers import share_beside
from underfire.errors import InterpreterError, UnderfireWarning
from underfire.runs.inputs import InputSettings


class Member(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.convolution(images).relu().mean((2, 3)))
        return logits


class Several(nn.Module):
    def __init__(self, combine: Callable[[Tensor, Tensor], Tensor], weight: float = 1.0) -> None:
        super().__init__()
        self.members, self.combine, self.weight = nn.ModuleList([Member(0), Member(1)]), combine, weight

    def forward(self, images: Tensor) -> Tensor:
        first, second = self.members
        return self.combine(self.weight * first(images), second(images))


class Flips(nn.Module):
    """Averages the passes of an image and of its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        self.member = Member(0)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = (self.member(images) + self.member(images.flip(-1))) / 2
        return logits


COMBINED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda a, b: (a + b) / 2,
    "mean of a stack": lambda a, b: torch.stack([a, b]).mean(0),
    "mean of a stack in the second axis": lambda a, b: torch.stack([a, b], 1).mean(1),
    "maximum of a stack": lambda a, b: torch.stack([a, b]).amax(0),
    "mean of probabilities": lambda a, b: torch.stack([a, b]).softmax(2).mean(0).log(),
    "logsumexp": lambda a, b: torch.logsumexp(torch.stack([a.log_softmax(1), b.log_softmax(1)]), 0),
}
IMAGES, CLASSES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])


def beside(network: nn.Module) -> float:
    return share_beside(uf.Classifier(network.eval()), IMAGES)


@pytest.mark.parametrize("name", COMBINED)
def test_an_ensemble_is_announced_once(name: str) -> None:
    """Regression: Grad-CAM explained the last member, and a mean over the members counted as a pooling of tokens."""
    network = Several(COMBINED[name]).eval()
    classifier = uf.Classifier(network)
    with pytest.warns(UnderfireWarning, match=r"GradCAM explains a part of Several: \d\d% of the logits' gradient"):
        maps = uf.interpreters.GradCAM().maps(classifier, IMAGES, CLASSES)
    assert maps.shape == (3, 7, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uf.interpreters.GradCAM().maps(classifier, IMAGES, CLASSES)
    with pytest.raises(InterpreterError, match="CAM needs logits = linear"):
        uf.interpreters.CAM().maps(classifier, IMAGES, CLASSES)


def test_the_share_is_that_of_the_other_members_gradient() -> None:
    network = Several(lambda a, b: a + b, weight=0.3).eval()
    image = IMAGES[:2].clone().requires_grad_()
    first, second = (member(image) for member in network.members)
    logits = 0.3 * first + second
    slope = 2 * (logits - logits.mean(1, keepdim=True)).detach()
    (rest,) = torch.autograd.grad((0.3 * first * slope).sum(), image, retain_graph=True)
    (full,) = torch.autograd.grad((logits * slope).sum(), image)
    expected = rest.norm() / (rest.norm() + (full - rest).norm())
    assert beside(network) == pytest.approx(float(expected), rel=1e-4)


def test_a_member_that_hardly_counts_is_no_reason() -> None:
    classifier = uf.Classifier(Several(lambda a, b: a + b, weight=0.01).eval())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uf.interpreters.GradCAM().maps(classifier, IMAGES, CLASSES)
    assert 0 < share_beside(classifier, IMAGES) < 0.1


def test_a_network_for_batches_of_one_size_keeps_its_maps() -> None:
    """The look takes two images; maps are read of batches that are filled up to eight."""

    class Fixed(Member):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.view(8, 3, 16, 16))

    maps = [uf.interpreters.GradCAM().maps(uf.Classifier(kind(0).eval()), IMAGES, CLASSES) for kind in (Fixed, Member)]
    assert torch.equal(*maps)


def test_a_look_draws_no_random_numbers_of_the_user() -> None:
    class Noisy(Member):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images + 1e-3 * torch.rand_like(images))

    classifier = uf.Classifier(Noisy(0).eval())
    torch.manual_seed(0)
    share_beside(classifier, IMAGES)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


def test_passes_of_flipped_images_are_announced_also_for_named_features() -> None:
    assert beside(Flips()) > 0.3
    assert share_beside(uf.Classifier(Flips().eval(), features="member.convolution"), IMAGES) > 0.3


class Residual(nn.Module):
    """Everything passes through the last features, and something passes beside what is inside of the block."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.inner, self.head = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(16, 5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.stem(images))
        x = self.relu(x + self.inner(x))
        logits: Tensor = self.head(torch.cat([x.mean((2, 3)), F.adaptive_max_pool2d(x, 1).flatten(1)], 1))
        return logits


@pytest.mark.parametrize("features", [None, "inner", "relu"])
def test_nothing_passes_beside_the_features_of_one_network(features: str | None) -> None:
    classifier = uf.Classifier(Residual().eval(), features=features)
    assert share_beside(classifier, IMAGES) == 0


def test_a_class_token_is_no_way_beside() -> None:
    network = uf.classifiers.load("scenes-vit").module
    assert share_beside(uf.Classifier(network, image_size=64), torch.rand(2, 3, 64, 64)) == 0


def test_check_says_it(tmp_path: Path) -> None:
    file = tmp_path / "flips.py"
    file.write_text(
        "import torch\nimport underfire as uf\n"
        "class Flips(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.inner = uf.classifiers.load('digits-resnet').module\n"
        "    def forward(self, images):\n"
        "        return (self.inner(images) + self.inner(images.flip(-1))) / 2\n"
        "def build():\n"
        "    return uf.Classifier(Flips(), image_size=32, channels=1)\n"
    )
    config = InputSettings.create(data="digits:test", classifier=f"{file}:build")
    found = run_check(config, 8, torch.device("cpu"), interpreters=("gradcam",))
    (line,) = (line for line in found.lines if line.topic == "parts")
    assert line.state == "hint"
    assert "% of the logits' gradient reaches the image on other ways" in line.text
    assert line.details["beside"] > 0.2


@pytest.mark.parametrize("temperature", [0.5, 7.0])
def test_a_temperature_changes_no_cam(temperature: float) -> None:
    """Regression: CAM was refused, because something lay between the features and the head."""

    class Calibrated(Member):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) / temperature

    plain, calibrated = (uf.Classifier(kind(3).eval()) for kind in (Member, Calibrated))
    maps = [uf.interpreters.CAM().maps(classifier, IMAGES, CLASSES) for classifier in (plain, calibrated)]
    assert torch.equal(*maps)


def test_another_sign_or_a_factor_per_image_is_no_temperature() -> None:
    class Turned(Member):
        def forward(self, images: Tensor) -> Tensor:
            return -super().forward(images)

    class PerImage(Member):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * torch.tensor([[1.0], [2.0], [4.0]])

    for kind in (Turned, PerImage):
        assert uf.Classifier(kind(3).eval()).record(IMAGES).cam_error() > 1e-2
