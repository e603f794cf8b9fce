"""Which map an attack wants an interpreter to show: rules that give each image its target map."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire import metrics, randomness
from underfire.attacks.benign import Benign
from underfire.errors import InputError
from underfire.system import System


class MapRule(ABC):
    """Gives each image the map that the attack makes the interpreter show."""

    name: ClassVar[str]
    benign: ClassVar[bool] = False
    """Whether the target is the image's own benign map, which joint success then asks to be kept."""

    @abstractmethod
    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        """N x h x w in [0, 1] by interpreter, for images whose goal is about ``classes`` (int64 N)."""


@dataclass(frozen=True)
class BenignMap(MapRule):
    """The map of the clean image for its own class: the explanation that an analyst expects."""

    name: ClassVar[str] = "benign"
    benign: ClassVar[bool] = True

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        return benign.maps


@dataclass(frozen=True)
class RandomPatch(MapRule):
    """A random patch: 0.9 to 1 inside, 0 to 0.1 outside ([ADV2] section 5.1).

    A disc of radius 30 to 59, or a rectangle with half-sides 30 to 60 that is rotated by up to 30 degrees, for images
    of 224 pixels, scaled to others, and wholly inside the image. It lies elsewhere than the benign map: up to
    ``attempts`` are drawn until one overlaps every benign map by less than ``overlap`` (intersection over union, both
    binarised at 0.5); where none does, the one that overlaps least.
    """

    name: ClassVar[str] = "patch"

    shape: Literal["any", "disc", "rectangle"] = "any"
    attempts: int = 8
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.shape not in ("any", "disc", "rectangle"):
            raise InputError(f"shape is {self.shape!r}; expected 'any', 'disc' or 'rectangle'.")
        if self.attempts < 1:
            raise InputError(f"attempts is {self.attempts}; expected 1 or more.")

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        best = torch.full((len(benign.ids),), torch.inf, device=benign.ids.device)
        chosen: dict[str, Tensor] = {}
        for attempt in range(self.attempts):
            drawn = self._draw(benign, seed, attempt)
            overlaps = torch.stack([metrics.map_iou(drawn[name], maps) for name, maps in benign.maps.items()]).amax(0)
            better = (best >= self.overlap) & (overlaps.to(best.device) < best)
            for name, maps in drawn.items():
                chosen[name] = torch.where(better.view(-1, 1, 1), maps, chosen[name]) if attempt else maps
            best = torch.where(better, overlaps.to(best), best)
        return chosen

    def _draw(self, benign: Benign, seed: int, attempt: int) -> dict[str, Tensor]:
        def value(position: int, low: float, high: float) -> Tensor:
            return low + (high - low) * geometry[:, position]

        geometry = randomness.uniform(seed, benign.ids, "patch", attempt, (7,)).double()
        disc = geometry[:, 0] < {"any": 0.5, "disc": 1.0, "rectangle": 0.0}[self.shape]
        radius, angle = value(1, 30, 59) / 224, value(4, -math.pi / 6, math.pi / 6)
        tall, wide = value(2, 30, 60) / 224, value(3, 30, 60) / 224
        reach_y = torch.where(disc, radius, tall * angle.cos() + wide * angle.sin().abs())
        reach_x = torch.where(disc, radius, wide * angle.cos() + tall * angle.sin().abs())
        centre_y = reach_y + (1 - 2 * reach_y) * geometry[:, 5]
        centre_x = reach_x + (1 - 2 * reach_x) * geometry[:, 6]
        found = {}
        for name, maps in benign.maps.items():
            height, width = maps.shape[1:]
            across = torch.arange(width, device=maps.device, dtype=torch.float64) + 0.5
            down = torch.arange(height, device=maps.device, dtype=torch.float64) + 0.5
            y = (down / height).view(1, -1, 1) - centre_y.view(-1, 1, 1)
            x = (across / width).view(1, 1, -1) - centre_x.view(-1, 1, 1)
            cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
            along, beside = (x * cos + y * sin).abs(), (y * cos - x * sin).abs()
            box = (along <= wide.view(-1, 1, 1)) & (beside <= tall.view(-1, 1, 1))
            inside = torch.where(disc.view(-1, 1, 1), x.square() + y.square() <= radius.square().view(-1, 1, 1), box)
            noise = 0.1 * randomness.uniform(seed, benign.ids, f"patch of {name}", attempt, (height, width))
            found[name] = torch.where(inside, 0.9 + noise, noise).to(maps.dtype)
        return found


class MapPool:
    """Honest maps of correctly classified images, by class, from which targets are drawn."""

    def __init__(self, maps: Mapping[str, Tensor], labels: Tensor, ids: Tensor) -> None:
        self.maps, self.labels, self.ids = dict(maps), labels, ids

    @classmethod
    def read(cls, system: System, images: Tensor, labels: Tensor, ids: Tensor) -> MapPool:
        """The maps of ``images`` N x C x H x W that are classified as ``labels``, for these."""
        right = (system.classifier.logits(images).argmax(1).cpu() == labels.cpu()).nonzero().squeeze(1)
        images, labels, ids = images[right], labels[right], ids[right]
        return cls(system.maps(images, labels, ids), labels, ids)

    def __repr__(self) -> str:
        content = hashlib.sha256(self.labels.cpu().numpy().tobytes() + self.ids.cpu().numpy().tobytes())
        for name in sorted(self.maps):
            content.update(self.maps[name].cpu().numpy().tobytes())
        return f"MapPool({len(self.labels)} images, SHA-256 {content.hexdigest()})"


@dataclass(frozen=True)
class ClassMap(MapRule):
    """The map of another image, which is of the target class and is classified as such, for that class."""

    name: ClassVar[str] = "class"

    pool: MapPool

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        pool, device = self.pool, classes.device
        fits = (pool.labels.to(device) == classes.unsqueeze(1)) & (pool.ids.to(device) != benign.ids.unsqueeze(1))
        counts = fits.sum(1)
        if not bool(counts.all()):
            lacking = sorted({int(c) for c in classes[counts == 0]})
            raise InputError(
                f"the pool of maps has no correctly classified image of class {', '.join(map(str, lacking[:5]))}; give "
                "more images, or other target classes."
            )
        rank = randomness.integers(seed, benign.ids, "map of the class", 0, (), counts)
        chosen = (fits.cumsum(1) == rank.view(-1, 1) + 1).long().argmax(1)
        return {name: self.pool.maps[name].to(device)[chosen] for name in benign.maps}


@dataclass(frozen=True)
class GivenMap(MapRule):
    """The map in a file for every image: an image whose brightness counts, or a .npy array, h x w in [0, 1].

    It is resized to each interpreter's maps.
    """

    name: ClassVar[str] = "given"

    file: str

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        given = self.read()
        found = {}
        for name, maps in benign.maps.items():
            resized = F.interpolate(
                given[None, None], maps.shape[1:], mode="bilinear", align_corners=False, antialias=True
            )
            found[name] = resized[0].clamp(0, 1).to(maps).expand(len(maps), -1, -1).contiguous()
        return found

    def read(self) -> Tensor:
        """float32 h x w in [0, 1]. Raises InputError where the file holds no map."""
        import numpy as np
        from PIL import Image

        path = Path(self.file).expanduser()
        try:
            if path.suffix == ".npy":
                values = torch.from_numpy(np.load(path)).float()
            else:
                with Image.open(path) as image:
                    values = torch.from_numpy(np.array(image.convert("L"))).float() / 255
        except (OSError, ValueError) as error:
            raise InputError(
                f"target_map is {self.file!r}, which cannot be read as an image or a .npy array: {error}"
            ) from error
        if values.ndim != 2 or not values.numel():
            raise InputError(f"target_map {self.file!r} has shape {tuple(values.shape)}; expected height x width.")
        if not bool(torch.isfinite(values).all()) or float(values.min()) < 0 or float(values.max()) > 1:
            raise InputError(
                f"target_map {self.file!r} ranges over [{float(values.min()):.3g}, {float(values.max()):.3g}]; maps "
                "are in [0, 1], where 1 is most important."
            )
        return values
