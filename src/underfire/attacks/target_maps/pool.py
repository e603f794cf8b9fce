"""The map of another image, which is of the target class, as the wanted map."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire import randomness
from underfire.attacks.benign import Benign
from underfire.attacks.target_maps.base import MapRule
from underfire.errors import InputError
from underfire.system import System


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
