"""The map of another image, of the target class, as the target map."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.benign import Benign
from underfire.attacks.target_maps.base import MapRule
from underfire.classifiers import check_images, check_labels, label_tensor
from underfire.errors import InputError
from underfire.system import System
from underfire.text import first_few, no_image


class MapPool:
    """Honest maps of correctly classified images, from which target maps are drawn.

    Two pools are equal if all their maps are. ``repr`` names their images, classes and interpreters, but not the values
    of the maps, whose last bits depend on the device.

    Args:
        maps: N x h x w in [0, 1], by interpreter.
        labels: int64 N, the images' classes.
        ids: int64 N, the images' identities.
    """

    def __init__(self, maps: Mapping[str, Tensor], labels: Tensor, ids: Tensor) -> None:
        self.maps, self.labels, self.ids = dict(maps), labels, ids

    @classmethod
    def read(
        cls,
        system: System,
        images: Tensor,
        labels: Tensor | Sequence[int],
        ids: Tensor | Sequence[str] | None = None,
    ) -> MapPool:
        """Read the honest maps of images for their own classes; misclassified images are left out.

        Args:
            system: the system that will be attacked.
            images: N x C x H x W in [0, 1].
            labels: int64 N.
            ids: stable names, or int64 N, the same as in the attack, so that no image is given its own map; by default
                images are known by their pixels.

        Raises:
            InputError: the images or labels are impossible, or no image is classified correctly.
        """
        device = system.classifier.device
        images = check_images(images, system.classifier)
        ids = randomness.identities(images, ids).to(device)
        images = images.to(device)
        logits = system.classifier.logits(images)
        labels = check_labels(label_tensor(labels), len(images), logits.shape[1]).to(device)
        right = (logits.argmax(1) == labels).nonzero().squeeze(1)
        if not len(right):
            raise InputError(
                f"{no_image(len(images), ' for a pool of maps', 'is', 'classified correctly')}. Are the labels in the "
                "classifier's order, and is its normalisation right?"
            )
        images, labels, ids = images[right], labels[right], ids[right]
        return cls(system.maps(images, labels, ids), labels, ids)

    @classmethod
    def of(cls, benign: Benign) -> MapPool:
        """Make a pool of the benign maps of the attacked images, without misclassified ones."""
        right = benign.correct.nonzero().squeeze(1)
        return cls({name: maps[right] for name, maps in benign.maps.items()}, benign.labels[right], benign.ids[right])

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes of the pool's images."""
        return tuple(sorted(set(self.labels.tolist())))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MapPool):
            return NotImplemented
        return repr(self) == repr(other) and all(
            torch.equal(maps.cpu(), other.maps[name].cpu()) for name, maps in self.maps.items()
        )

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        content = hashlib.sha256(self.labels.cpu().numpy().tobytes() + self.ids.cpu().numpy().tobytes())
        return f"MapPool({len(self.labels)} images, {', '.join(sorted(self.maps))}, SHA-256 {content.hexdigest()})"


@dataclass(frozen=True)
class ClassMap(MapRule):
    """The map of another image of the target class, which is also classified as that class.

    Random target classes are drawn from the classes of the pool.

    Args:
        pool: the maps to draw from; those of the attacked images themselves if None, so that the target of an image
            depends on the other images.
    """

    name: ClassVar[str] = "class"
    of_class: ClassVar[bool] = True

    pool: MapPool | None = None

    def classes(self, benign: Benign) -> tuple[int, ...]:
        return self._pool(benign).classes

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        pool, device = self._pool(benign), classes.device
        fits = (pool.labels.to(device) == classes.unsqueeze(1)) & (pool.ids.to(device) != benign.ids.unsqueeze(1))
        counts = fits.sum(1)
        if not bool(counts.all()):
            lacking = sorted({int(c) for c in classes[counts == 0]})
            raise InputError(
                f"target_map: the pool of maps has no correctly classified image of class {first_few(lacking, 8)}; it "
                f"has images of class {first_few(pool.classes, 8)}. Give more images, or other target classes."
            )
        rank = randomness.integers(seed, benign.ids, "map of the class", 0, (), counts)
        chosen = (fits.cumsum(1) == rank.view(-1, 1) + 1).long().argmax(1)
        return {name: pool.maps[name].to(device)[chosen] for name in benign.maps}

    def _pool(self, benign: Benign) -> MapPool:
        """Return the pool. Raises InputError if it belongs to another system, or to images of another size."""
        if self.pool is None:
            return MapPool.of(benign)
        for name, maps in benign.maps.items():
            there = self.pool.maps.get(name)
            if there is None:
                raise InputError(
                    f"target_map: the pool has maps of {', '.join(sorted(self.pool.maps))}, and none of {name}, an "
                    "interpreter of the system: read the pool with the same system, MapPool.read(system, ...)."
                )
            if there.shape[1:] != maps.shape[1:]:
                raise InputError(
                    f"target_map: the pool's maps of {name} are {' x '.join(map(str, there.shape[1:]))}, those of the "
                    f"images {' x '.join(map(str, maps.shape[1:]))}: read the pool with images of the same size."
                )
        return self.pool
