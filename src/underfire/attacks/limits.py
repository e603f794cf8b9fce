"""Limits: how near its target a map must be to count as kept, or as reached. Joint success is decided by them.

Limits depend on all images of an experiment, so they are settled when results are read, never while images are
attacked. A call in Python and a run on disk use the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from underfire import metrics
from underfire.metrics.chance import CHANCE, NO_CHANCE, Chance, ReadMaps, chance, largest_limit

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
SetBy = Literal["noise", "other", "average", "halfway"]
"""The origin of a limit: the noise control, the chance control with another image's map or with the average map, or
half of the benign map's distance."""

WHY_KEPT: Mapping[SetBy, str] = MappingProxyType(
    {
        "noise": "95th percentile of the noise control's map distance",
        "other": f"the largest limit that another image's map passes in at most {100 * CHANCE:.0f} % of pairs (noise "
        "alone would allow more)",
        "average": f"the largest limit that the average map passes on at most {100 * CHANCE:.0f} % of images (noise "
        "alone would allow more)",
    }
)
WHY_REACHED = "half of the benign map's distance to the target map, image by image; the mean of these"


@dataclass(frozen=True)
class Limit:
    """The limits of N images for one interpreter. Attributes about chance and noise hold only correct images.

    Args:
        values: float64 N. A map that is nearer to its target counts as kept, or as reached.
        own: float64 N, the limit that each image's own noise draws give: the largest of their distances, at most the
            limit by chance. For another wanted map than the benign one, the same as ``values``.
        set_by: the origin of the limit.
        correct: bool N, images that were classified correctly before; n of them.
        chance: the chance control of the n correct images.
        noise: n x K distances under K noise draws; None if the wanted map is not the benign one.
        by_noise: the 95th percentile of all noise distances.
        by_other: the largest limit that other images' maps pass in at most 5 % of pairs.
        by_average: the largest limit that the average map passes on at most 5 % of images.
    """

    values: Numbers
    own: Numbers
    set_by: SetBy
    correct: Flags
    chance: Chance = field(repr=False)
    noise: Numbers | None = field(default=None, repr=False)
    by_noise: float = float("inf")
    by_other: float = float("inf")
    by_average: float = float("inf")

    @property
    def keeps(self) -> bool:
        """True if the wanted map is the benign one: then all images have the same limit."""
        return self.noise is not None

    @property
    def draws(self) -> int:
        """The number of noise draws of each image."""
        return 0 if self.noise is None else self.noise.shape[1]

    @property
    def mean(self) -> float:
        """The mean of the limits of correct images."""
        return float(self.values[0] if self.keeps else self.values[self.correct].mean())

    @property
    def why(self) -> str:
        """A phrase that says how the limit is made."""
        return WHY_REACHED if self.set_by == "halfway" else WHY_KEPT[self.set_by]

    @property
    def passing(self) -> tuple[Numbers, Flags]:
        """The chance control of each image, N: the share of other images' maps that pass, and if the average does.

        Images that were not classified correctly have NaN, and False.
        """
        every = np.full(len(self.values), np.nan)
        flags = np.zeros(len(self.values), dtype=bool)
        if not len(self.chance.average):
            return every, flags
        shares, average = self.chance.passing(self.values[self.correct])
        every[self.correct], flags[self.correct] = shares, average
        return every, flags


def chance_of(correct: Flags, benign: ReadMaps, wanted: ReadMaps | None = None) -> Chance:
    """Make the chance control of the images that were classified correctly.

    Args:
        correct: bool N.
        benign: reads the benign maps of images by their places among all N.
        wanted: reads the wanted maps; if None, they are the benign maps.
    """
    places = np.flatnonzero(correct)

    def reader(read: ReadMaps) -> ReadMaps:
        return lambda rows: read(places[list(rows)].tolist())

    return chance(len(places), reader(benign), None if wanted is None else reader(wanted))


def kept_limit(noise: Numbers, correct: Flags, benign: ReadMaps | Chance) -> Limit:
    """Settle the limit below which a benign map counts as kept.

    It is the 95th percentile of the distances that random noise causes, over all images that were classified correctly
    and all their noise draws. It is capped, so that at most 5 % of other images' maps pass, and the average map passes
    on at most 5 % of images: otherwise, a map could pass that has nothing to do with the image.

    Args:
        noise: N x K distances (``map_l1``) under K noise draws.
        correct: bool N.
        benign: reads the benign maps of images by their places among all N; or what ``chance_of`` makes of them.
    """
    drawn = noise[correct]
    found = benign if isinstance(benign, Chance) else chance_of(correct, benign)
    bounds: dict[SetBy, float] = {
        "noise": metrics.noise_threshold(torch.from_numpy(np.ascontiguousarray(drawn.reshape(-1)))),
        "other": largest_limit(found.distance),
        "average": largest_limit(np.sort(found.average)),
    }
    set_by = min(bounds, key=bounds.__getitem__)  # the noise control, if several are equal
    own = np.minimum(noise.max(1), min(bounds["other"], bounds["average"]))
    values = np.full(len(noise), bounds[set_by])
    return Limit(values, own, set_by, correct, found, drawn, bounds["noise"], bounds["other"], bounds["average"])


def reached_limit(to_target: Numbers, correct: Flags, benign: ReadMaps, wanted: ReadMaps | None) -> Limit:
    """Settle the limit of each image below which a wanted map counts as reached: half of the benign map's distance.

    It is not capped by chance, because each image has its own; the chance control stands beside it.

    Args:
        to_target: N distances (``map_l1_target``) of the benign maps.
        correct: bool N.
        benign, wanted: read the benign and the wanted maps of images by their places among all N. Without wanted
            maps there is no chance control.
    """
    values = metrics.HALFWAY * to_target
    if wanted is None:
        return Limit(values, values, "halfway", correct, NO_CHANCE)
    return Limit(values, values, "halfway", correct, chance_of(correct, benign, wanted))


def joint_success(success: Flags, correct: Flags, distance: Numbers, limit: Numbers) -> Flags:
    """Decide joint success, bool N: correct before, class reached, and map nearer to its target than the limit."""
    found: Flags = success & correct & (distance < limit)
    return found


def all_at_once(found: Mapping[str, Flags]) -> Flags:
    """Decide joint success of all interpreters at once, bool N."""
    together: Flags = np.logical_and.reduce(list(found.values()))
    return together
