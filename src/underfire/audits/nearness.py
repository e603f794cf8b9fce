"""How near the maps of changed images are to those of the clean images: for one interpreter, or for several at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.benign import Benign
from underfire.attacks.limits import Limit
from underfire.attacks.ranking import Ranking, map_distance
from underfire.system import System

HALF = 0.5
"""The nearness of several maps, of which none is nearer than its limit, is at least this."""


@dataclass(frozen=True)
class Nearness:
    """One number in [0, 1] for each image, that is smaller if the maps are nearer to the clean ones.

    For one interpreter it is the map's distance d (``map_l1``), and the map is kept below its limit. For several it is
    the largest of d / (d + limit), so that all maps are kept below 1/2.

    Args:
        limits: the limit of each interpreter.
    """

    limits: Mapping[str, Limit]

    @property
    def label(self) -> str:
        """The names of the interpreters, such as ``cam+grad``."""
        return "+".join(self.limits)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the interpreters."""
        return tuple(self.limits)

    @property
    def several(self) -> bool:
        """True for several interpreters at once."""
        return len(self.limits) > 1

    @property
    def kept(self) -> float:
        """The number below which all maps are kept. An equal one is not kept."""
        return HALF if self.several else next(iter(self.limits.values())).mean

    def leaves(self, bounds: Mapping[str, float]) -> float:
        """Return the number below which no map is further away than its bound, a distance for each interpreter."""
        if not self.several:
            return next(iter(bounds.values()))
        return float(self.of({name: torch.tensor([bound]) for name, bound in bounds.items()}, smallest=True))

    def distances(self, system: System, benign: Benign, images: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """Read the maps of N changed images for ``classes``, int64 N. Returns N distances for each interpreter, on the
        CPU."""
        maps = system.only(self.names).maps(images, classes, benign.ids)
        return {name: metrics.map_l1(maps[name].cpu(), benign.maps[name].cpu()) for name in self.names}

    def of(self, distances: Mapping[str, Tensor], *, smallest: bool = False) -> Tensor:
        """Make one number for each image, N, of N distances for each interpreter.

        Args:
            distances: by interpreter.
            smallest: take the smallest one instead of the largest.
        """
        if not self.several:
            return next(iter(distances.values()))
        shares = [_share(distances[name].double(), limit.mean) for name, limit in self.limits.items()]
        together = torch.stack(shares)
        return together.amin(0) if smallest else together.amax(0)


@dataclass(frozen=True)
class ByNearness(Ranking):
    """The order of iterates by the nearness of their maps: of several maps, the farthest one counts.

    Args:
        near: the interpreters with their limits.
    """

    near: Nearness = field(default_factory=lambda: Nearness({}), compare=False)

    def of_maps(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        # Not metrics.map_l1: it makes a GPU wait, and raises for NaN, which an attack may meet on its way.
        distances = {name: map_distance({name: maps[name]}, targets) for name in self.near.names}
        return self.near.of(distances).to(distances[self.near.names[0]])


def _share(distance: Tensor, limit: float) -> Tensor:
    """Compute d / (d + limit); 1 if the limit is 0, below which no map is, and for an infinite distance or NaN."""
    found = distance / (distance + limit)
    return torch.where(distance.isfinite() & (limit > 0), found, torch.ones_like(found))
