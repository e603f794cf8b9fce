"""Networks with several scales, and maskers with random weights for them, to test how maskers are read."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images
from underfire.interpreters.rts.files import Note, write
from underfire.interpreters.rts.network import Masker, Shape


class Pyramid(nn.Module):
    """Four convolutions: 8, 16, 16 and 24 channels at 32, 16, 8 and 4 pixels, for images of 32 pixels."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        widths = (3, 8, 16, 16, 24)
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=1 if i == 0 else 2, padding=1) for i in range(4)
        )
        self.head = nn.Linear(24, classes)

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute the features of all four, fine to coarse."""
        found = []
        for conv in self.convs:
            images = F.relu(conv(images))
            found.append(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images)[-1].mean((2, 3)))
        return logits


class Attending(Pyramid):
    """A Pyramid whose 4 x 4 places of the last scale attend to each other, so that all interpreters can explain it."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__(classes)
        self.qkv = nn.Linear(24, 72)

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute the features of all four, fine to coarse."""
        *finer, last = super().features(images)
        tokens = self.qkv(last.flatten(2).transpose(1, 2)).unflatten(2, (3, 2, 12)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*tokens).transpose(1, 2).flatten(2).transpose(1, 2)
        return [*finer, F.relu(last + mixed.view_as(last))]


def pyramid(seed: int = 0, classes: int = 4, name: str = "pyramid", kind: type[Pyramid] = Pyramid) -> uf.Classifier:
    """Make a Pyramid whose logits differ clearly, and in which no class wins on all images."""
    torch.manual_seed(seed)
    network = kind(classes).eval()
    with torch.no_grad():
        for conv in network.convs:
            conv.weight.mul_(1.5)
        network.head.weight.mul_(30)
        network.head.bias.sub_(network((smooth_images(32, 32) - 0.5) / 0.25).mean(0))
    return uf.Classifier(network, mean=(0.5,) * 3, std=(0.25,) * 3, image_size=32, name=name)


def random_masker(shape: Shape, seed: int = 1) -> Masker:
    """Make a masker in evaluation mode whose batch norms are not the identity."""
    torch.manual_seed(seed)
    masker = Masker(shape)
    for part in masker.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.2, 0.2)
    return masker.eval().requires_grad_(False)


def shape_of(encoder: uf.Classifier, size: int = 32) -> Shape:
    with torch.no_grad():
        return Shape.of(encoder.record(smooth_images(2, size, encoder.channels), scales=True), (size, size), 8)


def write_masker(
    folder: Path,
    classifier: uf.Classifier,
    encoder: uf.Classifier | None = None,
    spec: str = "",
    steps: tuple[int, int] = (1, 1),
    confidence: float = 0.0,
) -> Path:
    """Write a masker file with random weights for ``classifier``; its note claims ``steps`` of training."""
    masker = random_masker(shape_of(encoder or classifier))
    note = Note(
        classifier=classifier.name,
        classifier_sha256=classifier.sha256(),
        encoder=spec,
        encoder_sha256=(encoder or classifier).sha256(),
        image_size=(32, 32),
        shape=masker.shape,
        confidence=confidence,
        selector_steps=steps[0],
        decoder_steps=steps[1],
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"rts-{classifier.name}.safetensors"
    write(masker, note, file)
    return file


ENCODER = """
from tests.interpreters.rts.makers import pyramid


def build():
    return pyramid(7, name="other")
"""


def write_encoder(folder: Path) -> tuple[uf.Classifier, str]:
    """Make a second network, and the name by which it is loaded."""
    (folder / "encoder.py").write_text(ENCODER)
    return pyramid(7, name="other"), f"{folder / 'encoder.py'}:build"
