"""Chance controls of map distances: how near is a map that was made for another image?

An image's wanted map is compared with the benign maps of other images, and with their average. A limit that such maps
pass often says nothing about an attack whose map passes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
ReadMaps = Callable[[Sequence[int]], Tensor]
"""Reads the maps of the images at these places: B x h x w."""

CHANCE = 0.05
"""The largest share of maps of other images that may pass a limit."""

GROUP = 200
"""The largest number of images that are compared with each other. More images are divided into groups of this size."""


@dataclass(frozen=True)
class Chance:
    """Distances of N wanted maps to the benign maps of other images, and to their average.

    Args:
        first: int32 P, the images whose wanted maps are compared.
        second: int32 P, the images whose benign maps they are compared with; never the same image.
        distance: float64 P, the distances (``map_l1``) of these pairs, the smallest first.
        average: float64 N, the distance of each image's wanted map to the average of the benign maps of all other
            images; infinite if there is no other image.
        group: int64 N, the number of the group of images that each image is compared with.
    """

    first: Places
    second: Places
    distance: Numbers
    average: Numbers
    group: Counts

    def passing(self, limit: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """Compare with a limit for each image.

        Args:
            limit: float64 N.

        Returns:
            For each image the share of other images' maps that are nearer than its limit (NaN if there are none), and
            True if the average map is.
        """
        count = len(self.average)
        near = self.distance < limit[self.first]
        passed = np.bincount(self.first[near], minlength=count).astype(np.float64)
        pairs = np.bincount(self.first, minlength=count)
        shares = np.divide(passed, pairs, out=np.full(count, np.nan), where=pairs > 0)
        return shares, self.average < limit


NO_CHANCE = Chance(*(np.zeros(0, np.int32),) * 2, *(np.zeros(0),) * 2, np.zeros(0, np.int64))
"""No chance control: the maps are not known."""


def groups(count: int, most: int = GROUP) -> Iterator[list[int]]:
    """Divide images 0..count-1 into groups of at most ``most``, as equal as possible.

    Each group is spread over all images, because neighbours in a data set often have the same class.
    """
    number = -(-count // most)
    for start in range(number):
        yield list(range(start, count, number))


def chance(count: int, benign: ReadMaps, wanted: ReadMaps | None = None, most: int = GROUP) -> Chance:
    """Compare the wanted maps of images with benign maps of other images.

    Up to ``most`` images are all compared with each other: an exact expectation, with nothing drawn. More images are
    compared within groups, so that time and memory grow with the number of images and not with its square.

    Args:
        count: N, the number of images.
        benign: reads benign maps B x h x w in [0, 1].
        wanted: reads the wanted maps; if None, they are the benign maps.
        most: the size of a group.
    """
    divided = list(groups(count, most))
    total = sum((_cells(benign(group)).sum(0) for group in divided), start=torch.zeros((), dtype=torch.float64))
    first, second, distance = [], [], []
    average, member = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    for number, group in enumerate(divided):
        shown = _cells(benign(group))
        aimed = shown if wanted is None else _cells(wanted(group))
        places, width = np.array(group, dtype=np.int32), shown.shape[1]
        member[places] = number
        rows, columns = np.nonzero(~np.eye(len(group), dtype=bool))
        found = _distances(aimed, shown, own=wanted is None) / width
        first.append(places[rows])
        second.append(places[columns])
        distance.append(found[rows, columns])
        if count > 1:
            others = (total - shown) / (count - 1)
            average[places] = (aimed - others).abs().mean(1).numpy()
    if not distance:
        return replace(NO_CHANCE, average=average, group=member)
    joined = np.concatenate(distance)
    order = np.argsort(joined, kind="stable")
    pairs = [np.concatenate(part)[order] for part in (first, second)]
    return Chance(pairs[0], pairs[1], joined[order], average, member)


def largest_limit(distance: Numbers, weight: npt.NDArray[np.integer] | None = None, share: float = CHANCE) -> float:
    """Find the largest limit that at most a ``share`` of distances are below; infinite if there are no distances.

    Args:
        distance: P distances, the smallest first.
        weight: P whole numbers: the number of times that each distance counts; once if None.
        share: in [0, 1).
    """
    running = np.arange(1, len(distance) + 1) if weight is None else np.cumsum(weight, dtype=np.int64)
    if not len(running) or not running[-1]:
        return float("inf")
    place = int(np.searchsorted(running, allowed(running[-1], share), side="right"))
    return float(distance[place])


def allowed(total: int | Counts, share: float = CHANCE) -> Counts:
    """Return the largest whole number that is at most ``share`` of ``total``."""
    # Rounded first: 0.05 times 60 may be a little less than 3 in binary numbers.
    return np.floor(np.round(share * np.asarray(total, dtype=np.float64), 6)).astype(np.int64)


def _distances(aimed: Tensor, shown: Tensor, own: bool) -> Numbers:
    """Sum the absolute differences of all pairs, B x B. ``own``: both are the same maps, which takes half the time."""
    if not own:
        return torch.cdist(aimed, shown, p=1).numpy()
    found = np.zeros((len(shown), len(shown)))
    rows, columns = np.triu_indices(len(shown), 1)
    found[rows, columns] = found[columns, rows] = torch.nn.functional.pdist(shown, p=1).numpy()
    return found


def _cells(maps: Tensor) -> Tensor:
    return maps.detach().cpu().double().flatten(1)
