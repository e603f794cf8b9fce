"""A system that takes the maps of a run's images from the run's files, where they are those that it would read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from underfire import randomness
from underfire.runs.identity import identities
from underfire.system import System

if TYPE_CHECKING:
    from underfire.runs.run import Run

KINDS = ("clean", "noise", "control", "attack")
"""The kinds of cells whose maps are taken."""

ROUNDING = 1e-4
"""The largest distance of an 8-bit value from a whole number of levels: division by 255 in float32 rounds."""


class _Place(NamedTuple):
    """The place of an image's maps: run, cell and image, and the class that they explain; -1 for the predicted one."""

    run: Run
    cell: str
    image_id: str
    explained: int


class SavedMaps(System):
    """A system whose maps are read from finished runs if they are there; other maps are computed as usual.

    A saved map is taken if the interpreter of this name is the same one in the run, the image is the same 8-bit image,
    and the map explains the class that is asked for. Maps of an interpreter with random numbers are always computed: a
    run draws them by the names of its images, and a detector by their pixels.

    Args:
        system: the system; its classifier is that of the runs.
        runs: finished runs.
    """

    def __init__(self, system: System, runs: Sequence[Run]) -> None:
        vars(self).update(vars(system))
        self._usable = {
            name
            for name, identity in identities(system).items()
            if system.interpreters[name].reseeded() is None
            and all(run.record.get("interpreters", {}).get(name) == identity for run in runs)
        }
        self._places: dict[int, _Place] = {}
        if self._usable:
            for run in runs:
                self._add(run)

    def _add(self, run: Run) -> None:
        """Note the places of a run's maps, by the pixels of the images."""
        from underfire.runs.saved_images import SavedImages

        classifier = self.classifier
        for cell in run.cells.values():
            if cell.kind not in KINDS or not self._usable <= set(cell.read_by):
                continue
            table = run.rows(["image_id", "label", "target", "success"], cell.label)
            rows = {row["image_id"]: row for row in table.to_pylist()}
            data = SavedImages(run, cell.label)
            for batch in data.batches(classifier.image_size, classifier.channels, 64, None, classifier.resizing):
                for number, image_id in zip(randomness.identify(batch.images).tolist(), batch.ids, strict=True):
                    row = rows[image_id]
                    if cell.kind in ("clean", "noise"):
                        explained = int(row["label"])
                    elif row["target"] is not None:
                        explained = int(row["target"])
                    elif row["success"]:
                        explained = -1  # the most likely wrong class, which is the predicted one
                    else:
                        continue
                    self._places[number] = _Place(run, cell.label, image_id, explained)

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | Sequence[str] | None = None) -> dict[str, Tensor]:
        """Read the maps N x h x w of every interpreter, from the runs if they are there; see ``System.maps``."""
        if not self._usable:
            return super().maps(images, classes, ids)
        ids = None if ids is None else randomness.identities(images, ids)
        found: list[_Place | None] = []
        keys = zip(randomness.identify(images).tolist(), _are_8_bit(images), classes.tolist(), strict=True)
        for number, whole, wanted in keys:
            place = self._places.get(number) if whole else None
            found.append(place if place is not None and place.explained in (-1, wanted) else None)
        rest = [number for number, place in enumerate(found) if place is None]
        return {name: self._maps(name, images, classes, ids, found, rest) for name in self.interpreters}

    def _maps(
        self,
        name: str,
        images: Tensor,
        classes: Tensor,
        ids: Tensor | None,
        found: Sequence[_Place | None],
        rest: Sequence[int],
    ) -> Tensor:
        """Read the maps of one interpreter; those of the images ``rest`` are computed."""
        single = System.only(self, (name,))
        if name not in self._usable or len(rest) == len(found):
            return System.maps(single, images, classes, ids)[name]
        parts = {
            number: torch.as_tensor(place.run.map(place.cell, name, place.image_id))
            for number, place in enumerate(found)
            if place is not None
        }
        if rest:
            chosen = list(rest)
            computed = System.maps(single, images[chosen], classes[chosen], None if ids is None else ids[chosen])[name]
            parts |= dict(zip(rest, computed.cpu(), strict=True))
        return torch.stack([parts[number] for number in range(len(found))]).to(images.device)


def _are_8_bit(images: Tensor) -> list[bool]:
    """Return whether all values of each image N x C x H x W are multiples of 1/255."""
    levels = images.detach().float() * 255
    return ((levels - levels.round()).abs().flatten(1).amax(1) < ROUNDING).tolist()
