"""The loss of a masker (Dabkowski & Gal 2017, section 3), with the coefficients of the published experiments."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.numerics import is_class


def presence_loss(presence: Tensor, real: Tensor) -> Tensor:
    """Compute the cross-entropy of the logits (-s/2, s/2) for "absent, present" per image, N.

    Args:
        presence: s, N.
        real: bool N: True if the class is present.
    """
    return F.softplus(torch.where(real, -presence, presence))


def hinge(logits: Tensor, labels: Tensor, wanted: Tensor, target: float, other: float) -> Tensor:
    """Compute the hinge loss on the lead of a class over all other classes, N >= 0 (Carlini & Wagner 2017).

    Args:
        logits: N x K.
        labels: int64 N, the classes.
        wanted: bool N: True if the class should lead by ``target``, False if it should trail by ``other``.
        target, other: margins in logits.
    """
    chosen = is_class(labels, logits.shape[1])
    lead = logits[chosen] - logits.masked_fill(chosen, -torch.inf).amax(1)
    return F.relu(torch.where(wanted, target - lead, other + lead))


def area(maps: Tensor, power: float = 0.3) -> Tensor:
    """Compute the size of the maps N x h x w: mean((m + 0.0005)^power)."""
    return (maps + 0.0005).pow(power).mean()


def roughness(maps: Tensor) -> Tensor:
    """Compute the length of the edges in maps N x h x w: sum |dm|^2 / (2 N) over neighbouring pixels."""
    squares = maps.diff(dim=1).square().sum() + maps.diff(dim=2).square().sum()
    return squares / (2 * len(maps))


@dataclass(frozen=True)
class MaskLoss:
    """The decoder's loss: destroyer + ``area`` * area + ``roughness`` * roughness + ``preserver`` * preserver.

    The preserved image keeps the pixels that the map marks; the destroyed image keeps the other pixels. If the map is
    for the image's own class, the preserved image should show that class (by ``target`` logits), and the destroyed
    image should not (by ``destroyed_other``). If the map is for a fake class, there is nothing to mark, and the roles
    swap: the preserved image should lose the image's own class (by ``preserved_other``), and the destroyed image should
    keep it (by ``target``).
    """

    area: float = 8.0
    roughness: float = 0.005
    preserver: float = 0.3
    target: float = 1.0
    preserved_other: float = 1.0
    destroyed_other: float = 5.0

    def parts(
        self, maps: Tensor, preserved: Tensor, destroyed: Tensor, labels: Tensor, real: Tensor
    ) -> dict[str, Tensor]:
        """Compute the parts of the loss by name, without their coefficients.

        Args:
            maps: N x H x W in [0, 1], in the size of the images.
            preserved, destroyed: the classifier's logits N x K of the two images.
            labels: int64 N, the images' own classes.
            real: bool N: True if the map is for the image's own class.
        """
        return {
            "destroyer": hinge(destroyed, labels, ~real, self.target, self.destroyed_other).mean(),
            "preserver": hinge(preserved, labels, real, self.target, self.preserved_other).mean(),
            "area": area(maps),
            "roughness": roughness(maps),
        }

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """Compute the weighted sum of the parts."""
        return (
            parts["destroyer"]
            + self.area * parts["area"]
            + self.roughness * parts["roughness"]
            + self.preserver * parts["preserver"]
        )
