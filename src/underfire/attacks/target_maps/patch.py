"""A random patch as the target map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from underfire import metrics, randomness
from underfire.arguments import check_choice, check_share, whole_number
from underfire.attacks.benign import Benign
from underfire.attacks.target_maps.base import MapRule


@dataclass(frozen=True)
class RandomPatch(MapRule):
    """A random patch: values in [0.9, 1] inside, and in [0, 0.1] outside ([ADV2] section 5.1).

    On images of 224 pixels it is a disc of radius 30 to 59, or a rectangle with half-sides 30 to 60 that is rotated by
    up to 30 degrees; on other images it is scaled by the shorter side. It lies wholly inside the image.

    Args:
        shape: ``disc``, ``rectangle``, or ``any`` for one of them at random.
        attempts: the largest number of patches that are drawn for an image, until one lies apart from its benign maps.
            If none does, the patch that overlaps least is taken.
        overlap: a patch lies apart if its overlap with every benign map (intersection over union, both binarised at
            0.5) is smaller than this.
    """

    name: ClassVar[str] = "patch"

    shape: Literal["any", "disc", "rectangle"] = "any"
    attempts: int = 8
    overlap: float = 0.25

    def __post_init__(self) -> None:
        check_choice("shape", self.shape, ("any", "disc", "rectangle"))
        object.__setattr__(self, "attempts", whole_number("attempts", self.attempts, 1))
        check_share("overlap", self.overlap)

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        best = torch.full((len(benign.ids),), torch.inf, device=benign.ids.device)
        chosen: dict[str, Tensor] = {}
        for attempt in range(self.attempts):
            drawn = self._draw(benign, seed, attempt)
            shared = [metrics.map_iou(drawn[name], maps) for name, maps in benign.attacked_maps.items()]
            overlaps = torch.stack(shared).amax(0)
            better = (best >= self.overlap) & (overlaps.to(best.device) < best)
            for name, maps in drawn.items():
                chosen[name] = torch.where(better.view(-1, 1, 1), maps, chosen[name]) if attempt else maps
            best = torch.where(better, overlaps.to(best), best)
            if bool((best < self.overlap).all()):
                break
        return chosen

    def _draw(self, benign: Benign, seed: int, attempt: int) -> dict[str, Tensor]:
        """Draw one patch for each image, at the resolution of each interpreter."""

        def value(position: int, low: float, high: float) -> Tensor:
            return low + (high - low) * geometry[:, position]

        geometry = randomness.uniform(seed, benign.ids, "patch", attempt, (7,)).double()
        disc = geometry[:, 0] < {"any": 0.5, "disc": 1.0, "rectangle": 0.0}[self.shape]
        radius, angle = value(1, 30, 59) / 224, value(4, -math.pi / 6, math.pi / 6)
        tall, wide = value(2, 30, 60) / 224, value(3, 30, 60) / 224
        # Lengths are in units of the image's shorter side, so that a disc is round and a rectangle has right angles.
        sides = benign.images.shape[2:]
        image_height, image_width = (side / min(sides) for side in sides)
        reach_y = torch.where(disc, radius, tall * angle.cos() + wide * angle.sin().abs())
        reach_x = torch.where(disc, radius, wide * angle.cos() + tall * angle.sin().abs())
        centre_y = reach_y + (image_height - 2 * reach_y) * geometry[:, 5]
        centre_x = reach_x + (image_width - 2 * reach_x) * geometry[:, 6]
        found = {}
        for name, maps in benign.maps.items():
            height, width = maps.shape[1:]
            across = torch.arange(width, device=maps.device, dtype=torch.float64) + 0.5
            down = torch.arange(height, device=maps.device, dtype=torch.float64) + 0.5
            y = (down / height * image_height).view(1, -1, 1) - centre_y.view(-1, 1, 1)
            x = (across / width * image_width).view(1, 1, -1) - centre_x.view(-1, 1, 1)
            cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
            along, beside = (x * cos + y * sin).abs(), (y * cos - x * sin).abs()
            box = (along <= wide.view(-1, 1, 1)) & (beside <= tall.view(-1, 1, 1))
            inside = torch.where(disc.view(-1, 1, 1), x.square() + y.square() <= radius.square().view(-1, 1, 1), box)
            # On a coarse map, a patch may hold the middle of no cell: then it is the cell with the patch's middle.
            nearest = (x.square() + y.square()).flatten(1).argmin(1, keepdim=True)
            middle = torch.zeros_like(inside.flatten(1)).scatter(1, nearest, True).view_as(inside)
            inside = inside | (middle & ~inside.flatten(1).any(1).view(-1, 1, 1))
            label = benign.interpreter_labels.get(name, name)
            noise = 0.1 * randomness.uniform(seed, benign.ids, f"patch of {label}", attempt, (height, width))
            found[name] = torch.where(inside, 0.9 + noise, noise).to(maps.dtype)
        return found
