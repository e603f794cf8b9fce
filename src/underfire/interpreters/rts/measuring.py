"""Quality of a masker on images that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Prepared
from underfire.data.sampling import evenly_spaced
from underfire.interpreters.rts.network import Masker
from underfire.interpreters.rts.sampling import Pictures, with_fakes
from underfire.metrics import most_important

IMAGES = 500


@dataclass(frozen=True)
class Measured:
    """The quality of a masker. Shares are in [0, 1].

    ``kept``, ``kept_random`` and ``without`` replace half of the pixels by the image's mean colour.

    Args:
        test_images: number of images.
        presence_accuracy: share of right answers of the selector. Every second image, on average, is asked for a class
            that is absent.
        accuracy: share of whole images that the classifier puts into their class.
        kept: the same if only the half that the map finds most important is left.
        kept_random: the same if only a random half is left.
        without: the same if only the half that the map finds least important is left.
    """

    test_images: int
    presence_accuracy: float
    accuracy: float
    kept: float
    kept_random: float
    without: float


def measure(masker: Masker, confidence: float, classifier: Prepared, encoder: Prepared, pictures: Pictures) -> Measured:
    """Measure on up to ``IMAGES`` images, spread evenly over the data, because folders are often sorted by class."""
    generator = torch.Generator().manual_seed(0)
    device = next(classifier.module.parameters()).device
    masker.to(device)
    found: dict[str, list[Tensor]] = {}
    places = evenly_spaced(len(pictures), IMAGES)
    for begin in range(0, len(places), 100):
        images, labels = pictures.load(places[begin : begin + 100])
        size = (images.shape[2], images.shape[3])
        asked, real = with_fakes(labels, masker.shape.classes, 0.5, generator)
        images, labels = images.to(device), labels.to(device)
        with torch.no_grad():
            scales = masker.scales_of(encoder.record(images, scales=True), size)
            maps, _ = masker(scales, labels, confidence)
            presence = masker.presence(scales[0], asked.to(device)).cpu()
            drawn = torch.rand(maps.shape, generator=generator).to(device)
            chosen = {"kept": half(maps, size), "kept_random": half(drawn, size), "without": ~half(maps, size)}
            mean = images.mean((2, 3), keepdim=True)
            for name, inside in chosen.items():
                logits = classifier.run(torch.where(inside.unsqueeze(1), images, mean))
                found.setdefault(name, []).append((logits.argmax(1) == labels).cpu())
            found.setdefault("accuracy", []).append((classifier.run(images).argmax(1) == labels).cpu())
        found.setdefault("presence_accuracy", []).append((presence > 0) == real)
    masker.cpu()
    shares = {name: float(torch.cat(values).float().mean()) for name, values in found.items()}
    return Measured(test_images=sum(len(values) for values in found["kept"]), **shares)


def half(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Select the half of the pixels with the largest values: bool N x H x W, in ``size``."""
    large = F.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=False).squeeze(1)
    return most_important(large, 0.5)
