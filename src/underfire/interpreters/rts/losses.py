"""What a masker is trained on (Dabkowski & Gal 2017, section 3, with the coefficients of the published experiments)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def presence_loss(presence: Tensor, real: Tensor) -> Tensor:
    """Cross-entropy of the logits (-s/2, s/2) of "absent, present", N. ``presence`` s, N; ``real`` bool N."""
    return F.softplus(torch.where(real, -presence, presence))


def hinge(logits: Tensor, labels: Tensor, wanted: Tensor, target: float, other: float) -> Tensor:
    """How far the logits are from a class that leads, or trails, the others by enough, N >= 0 (Carlini & Wagner 2017).

    Args:
        logits: N x K.
        labels: int64 N.
        wanted: bool N: the label's class is to lead by ``target``; elsewhere it is to trail by ``other``.
    """
    chosen = F.one_hot(labels, logits.shape[1]).bool()
    lead = logits[chosen] - logits.masked_fill(chosen, -torch.inf).amax(1)
    return F.relu(torch.where(wanted, target - lead, other + lead))


def area(maps: Tensor, power: float = 0.3) -> Tensor:
    """mean((m + 0.0005)^power): the size of the maps N x h x w."""
    return (maps + 0.0005).pow(power).mean()


def roughness(maps: Tensor) -> Tensor:
    """sum |dm|^2 / (2 N) over neighbours: the length of the maps' edges. ``maps`` N x h x w."""
    squares = maps.diff(dim=1).square().sum() + maps.diff(dim=2).square().sum()
    return squares / (2 * len(maps))


@dataclass(frozen=True)
class MaskLoss:
    """destroyer + ``area`` * area + ``roughness`` * roughness + ``preserver`` * preserver.

    Preserved images keep what the map marks, destroyed ones the rest. Where the map is for the image's own class, the
    preserved image shall show that class (by ``target`` logits), and the destroyed one shall not (by
    ``destroyed_other``). For a fake class the roles invert: there is nothing to mark, so that the image shall lose its
    class where only the map's part is kept (by ``preserved_other``), and keep it where that part is taken away.
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
        """The parts by name, without their coefficients.

        Args:
            maps: N x H x W in [0, 1] at the images' size.
            preserved, destroyed: the classifier's logits N x K of the two images.
            labels: int64 N, the images' own classes.
            real: bool N: whether the map is for the image's own class.
        """
        return {
            "destroyer": hinge(destroyed, labels, ~real, self.target, self.destroyed_other).mean(),
            "preserver": hinge(preserved, labels, real, self.target, self.preserved_other).mean(),
            "area": area(maps),
            "roughness": roughness(maps),
        }

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """Their weighted sum."""
        return (
            parts["destroyer"]
            + self.area * parts["area"]
            + self.roughness * parts["roughness"]
            + self.preserver * parts["preserver"]
        )
